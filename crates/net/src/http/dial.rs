//! Opens TCP connections: the only place that does.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use plexus_base::config::{IpRange, every_address};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::dns::{DnsError, Resolve};
use crate::http::purpose::Addresses;

/// How long after one address the next one is tried beside it (RFC 8305, "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long a connection to one address may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most attempts under way at once: each takes a file descriptor.
const MAX_ATTEMPTS_AT_ONCE: usize = 2;
/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Which addresses may be connected to.
#[derive(Debug, Clone, Default)]
pub struct AddressGuard {
    /// Not to these, except for the exceptions.
    pub blocked: Vec<IpRange>,
    /// To these, although they are blocked.
    pub exceptions: Vec<IpRange>,
}

impl AddressGuard {
    /// Whether `address` may be connected to: it and every address it stands for must be permitted. An exception
    /// permits the addresses it names, in any form, and not the others that a form of theirs may lead to.
    pub fn permits(&self, address: IpAddr) -> bool {
        let within = |ranges: &[IpRange], address| ranges.iter().any(|range| range.contains(address));
        let permitted = |address| !within(&self.blocked, address) || within(&self.exceptions, address);
        every_address(address).into_iter().all(permitted)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The lookup failed.
    #[error("cannot look up {host}: {source}")]
    Lookup {
        /// The name.
        host: String,
        /// The reason.
        source: DnsError,
    },
    /// The name does not exist.
    #[error("{0} has no address")]
    NoAddress(String),
    /// Every address is blocked.
    #[error("{0} has only addresses that ip_range_blacklist forbids")]
    Forbidden(String),
    /// No address accepts a connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// host:port
        address: String,
        /// The reason at the last address.
        source: io::Error,
    },
}

/// Which addresses may be connected to, by what connections are for.
#[derive(Debug, Clone, Default)]
pub struct AddressGuards {
    /// For requests to other servers: `federation_ip_range_blacklist`.
    pub federation: AddressGuard,
    /// For pages that are previewed: `url_preview_ip_range_blacklist`.
    pub previews: AddressGuard,
    /// For everything else: `ip_range_blacklist`.
    pub general: AddressGuard,
}

/// Opens connections to the addresses of names.
pub(crate) struct Dialer {
    names: Arc<dyn Resolve>,
    guards: AddressGuards,
}

impl Dialer {
    pub(crate) fn new(names: Arc<dyn Resolve>, guards: AddressGuards) -> Self {
        Self { names, guards }
    }

    pub(crate) fn names(&self) -> &dyn Resolve {
        &*self.names
    }

    /// Connects to `host` (a name, or an address without brackets). The guard sees the very addresses that are
    /// connected to: a name that changes its address between check and connection gains nothing.
    pub(crate) async fn dial(&self, addresses: Addresses, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let found = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => {
                // Other servers' names are complete: the search domains are the operator's, and may have a wildcard.
                let dot = if addresses == Addresses::Federation && !host.ends_with('.') { "." } else { "" };
                let found = self.names.addresses(&format!("{host}{dot}"), port).await;
                found.map_err(|source| DialError::Lookup { host: host.to_owned(), source })?
            }
        };
        if found.is_empty() {
            return Err(DialError::NoAddress(host.to_owned()));
        }
        let mut allowed = found;
        allowed.retain(|address| self.permits(addresses, address.ip()));
        if allowed.is_empty() {
            return Err(DialError::Forbidden(host.to_owned()));
        }
        tracing::trace!(host, port, addresses = allowed.len(), "connecting");
        let stream = race(interleaved(allowed)).await;
        stream.map_err(|source| DialError::Connect { address: format!("{host}:{port}"), source })
    }

    /// Checks a `host` that somebody else connects to: unlike a name, an address is known here.
    pub(crate) fn check_literal(&self, addresses: Addresses, host: &str) -> Result<(), DialError> {
        match host.parse::<IpAddr>() {
            Ok(address) if !self.permits(addresses, address) => Err(DialError::Forbidden(host.to_owned())),
            _ => Ok(()),
        }
    }

    fn permits(&self, addresses: Addresses, address: IpAddr) -> bool {
        let guard = match addresses {
            Addresses::Any => return true,
            Addresses::Federation => &self.guards.federation,
            Addresses::Previews => &self.guards.previews,
            Addresses::General => &self.guards.general,
        };
        guard.permits(address)
    }
}

/// IPv6 and IPv4 in turn, IPv6 first, otherwise in the order given (RFC 8305, "Sorting Addresses").
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let longest = v6.len().max(v4.len());
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let turns = (0..longest).flat_map(|_| [v6.next(), v4.next()]);
    turns.flatten().take(MAX_ADDRESSES).collect()
}

/// Connects to the first of the addresses that accepts; each gets a head start over the next.
#[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if attempts.len() < MAX_ATTEMPTS_AT_ONCE
            && let Some(address) = waiting.next()
        {
            attempts.spawn(attempt(address));
        }
        let may_start_more = attempts.len() < MAX_ATTEMPTS_AT_ONCE && waiting.len() > 0;
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = error,
                Some(Err(error)) => last = io::Error::other(error),
                None => return Err(last),
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if may_start_more => {}
        }
    }
}

async fn attempt(address: SocketAddr) -> io::Result<TcpStream> {
    #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
    let connected = tokio::time::timeout(ATTEMPT_TIMEOUT, TcpStream::connect(address)).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_permit_no_more_than_they_name() {
        let ranges = |ranges: &[&str]| ranges.iter().map(|range| IpRange::parse(range).unwrap()).collect();
        let guard = AddressGuard {
            blocked: ranges(&["10.0.0.0/8", "fc00::/7", "::"]),
            exceptions: ranges(&["10.0.0.1", "64:ff9b::/96", "2001::/32", "fc00::5efe:0:0/96"]),
        };
        for (address, permitted) in [
            ("8.8.8.8", true),
            ("64:ff9b::8.8.8.8", true),
            ("10.0.0.2", false),
            ("fc00::1", false),
            ("::", false),
            ("10.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("64:ff9b::10.0.0.1", true),
            ("2002:a00:1::", true),
            ("fc00::5efe:10.0.0.1", true),
            // The way there is permitted, the end of it is not.
            ("64:ff9b::10.0.0.2", false),
            ("fc00::5efe:10.0.0.2", false),
            // Teredo: the server is permitted, the client behind it is not, and the other way round.
            ("2001:0:a00:1::f5ff:fffd", false),
            ("2001:0:a00:2::f5ff:fffe", false),
            ("2001:0:a00:1::f5ff:fffe", true),
            ("2002:a00:1::5efe:10.0.0.2", false),
        ] {
            assert_eq!(guard.permits(address.parse().unwrap()), permitted, "{address}");
        }
    }

    #[test]
    fn both_families_take_turns() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let given = ["1.1.1.1:1", "1.1.1.2:1", "[2::1]:1", "1.1.1.3:1"].map(address);
        let order = ["[2::1]:1", "1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1"].map(address);
        assert_eq!(interleaved(given.into()), order);
    }

    #[tokio::test]
    async fn addresses_that_refuse_are_passed_over() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let somebody = listener.local_addr().unwrap();
        let stream = race(vec![nobody, nobody, nobody, somebody]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), somebody);
        assert_eq!(race(vec![nobody]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
