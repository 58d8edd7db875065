//! From the name of a server to an encrypted connection (server-server API, "Resolving server names", the steps after
//! delegation by .well-known).

use plexus_base::Random;
use plexus_protocol::id::{Host, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::error::ConnectError;
use crate::Purpose;
use crate::dial::Dialer;
use crate::dns::Service;
use crate::tls::Tls;

/// The port of servers that name none.
const DEFAULT_PORT: u16 = 8448;
/// The most SRV records of one name that are tried.
const MOST_SERVICES: usize = 4;

/// Opens connections.
pub(super) struct Connector {
    dialer: Dialer,
    tls: Tls,
    random: Random,
}

impl Connector {
    pub(super) fn new(dialer: Dialer, tls: Tls, random: Random) -> Self {
        Self { dialer, tls, random }
    }

    /// Connects to the server that `authority` names: what is sent as `Host` and as SNI, and what its certificate is for.
    pub(super) async fn connect(&self, authority: &ServerName) -> Result<TlsStream<TcpStream>, ConnectError> {
        const PURPOSE: Purpose = Purpose::Federation;
        let (written, port) = authority.host_port();
        let name = match authority.host() {
            // Step 1 (and 3.1): an address.
            Host::Address(ip) => {
                return self.encrypted(PURPOSE, &ip.to_string(), port.unwrap_or(DEFAULT_PORT)).await;
            }
            Host::Name(name) => name,
        };
        // Step 2 (and 3.2): a port is given.
        if let Some(port) = port {
            return self.encrypted(PURPOSE, written, port).await;
        }
        // Steps 4 and 5 (3.3 and 3.4): SRV records; the certificate is still for the name.
        let services = self.services(name).await?;
        if services.is_empty() {
            return self.encrypted(PURPOSE, name, DEFAULT_PORT).await;
        }
        let mut failed = ConnectError::NoService(name.to_owned());
        for service in in_order(services, &self.random).into_iter().take(MOST_SERVICES) {
            // "A Target of "." means that the service is decidedly not available at this domain" (RFC 2782).
            if service.target.is_empty() {
                continue;
            }
            let stream = self.dialer.dial(PURPOSE, &service.target, service.port).await;
            match stream {
                Ok(stream) => match self.encrypt(name, stream).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => failed = error,
                },
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }

    /// Connects to `host` (a name, or an address without brackets).
    pub(super) async fn encrypted(
        &self,
        purpose: Purpose,
        host: &str,
        port: u16,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let stream = self.plain(purpose, host, port).await?;
        self.encrypt(host, stream).await
    }

    /// Connects to `host` (a name, or an address without brackets), in the clear.
    pub(super) async fn plain(&self, purpose: Purpose, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        Ok(self.dialer.dial(purpose, host, port).await?)
    }

    async fn encrypt(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, ConnectError> {
        let encrypted = self.tls.connect(host, stream).await;
        encrypted.map_err(|source| ConnectError::Tls { host: host.to_owned(), source })
    }

    async fn services(&self, name: &str) -> Result<Vec<Service>, ConnectError> {
        for service in ["_matrix-fed._tcp", "_matrix._tcp"] {
            let name = format!("{service}.{name}");
            match self.dialer.names().services(&name).await {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Ok(found),
                Err(source) => return Err(ConnectError::Services { name, source }),
            }
        }
        Ok(Vec::new())
    }
}

/// By priority; among equals at random, the heavier the more likely first (RFC 2782, "Usage rules").
fn in_order(mut services: Vec<Service>, random: &Random) -> Vec<Service> {
    services.sort_by_key(|service| (service.priority, service.weight));
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(first) = services.first() {
        let equals = services.iter().take_while(|service| service.priority == first.priority);
        let total: u64 = equals.map(|service| u64::from(service.weight)).sum();
        let mut drawn = random.below(total + 1);
        let chosen = services.iter().position(|service| {
            let weight = u64::from(service.weight);
            let here = drawn <= weight;
            drawn = drawn.saturating_sub(weight);
            here
        });
        ordered.push(services.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, target: &str) -> Service {
        Service { priority, weight, port: 1, target: target.to_owned() }
    }

    fn names(services: Vec<Service>) -> String {
        services.into_iter().map(|service| service.target).collect()
    }

    #[test]
    fn lower_priorities_come_first_and_every_record_once() {
        let random = Random::seeded(1);
        for _ in 0..50 {
            let given = vec![service(20, 100, "c"), service(10, 0, "a"), service(20, 0, "d"), service(10, 5, "b")];
            let order = names(in_order(given, &random));
            assert!(["abcd", "bacd", "abdc", "badc"].contains(&order.as_str()), "{order}");
        }
    }

    #[test]
    fn a_heavier_record_comes_first_more_often_by_its_weight() {
        let random = Random::seeded(2);
        let given = || vec![service(1, 10, "l"), service(1, 90, "h")];
        let heavy = (0..1000).filter(|_| names(in_order(given(), &random)).starts_with('h')).count();
        assert!((850..950).contains(&heavy), "{heavy}");
    }
}
