//! The other end of a connection.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::{HeaderName, USER_AGENT};
use http::request::Parts;
use http::{Extensions, HeaderMap};
use plexus_base::LongPoll;
use plexus_base::rate_limiter::{is_shared_by_many, network};
use plexus_net::policy_hooks::ClientInfo;

/// The longest request id that is accepted from a proxy, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// The listener's data about a connection; among the extensions of each of its requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address of the socket's other end; `None` on a unix socket.
    pub address: Option<IpAddr>,
    /// Whether the connection itself has TLS (the listener's `tls`).
    pub tls: bool,
    /// Whether X-Forwarded-For is trusted (the listener's `x_forwarded`).
    pub x_forwarded: bool,
    /// The header in which a trusted proxy gives each request an id (the listener's `request_id_header`).
    pub request_id_header: Option<HeaderName>,
    /// The listener's name in the log: its `tag`, port or path.
    pub site: Arc<str>,
}

impl Peer {
    /// Returns the id a proxy gave the request, if it gave one that can be logged.
    pub fn request_id<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let id = headers.get(self.request_id_header.as_ref()?)?.to_str().ok()?;
        // Without spaces, so that no id reads like further parts of a log line.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        (!id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(allowed)).then_some(id)
    }

    /// Returns the client's address: the first of X-Forwarded-For behind a proxy, as in Synapse, else the socket's.
    pub fn client_ip(&self, headers: &HeaderMap) -> Option<IpAddr> {
        if self.x_forwarded {
            let forwarded = headers
                .get("x-forwarded-for")
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.split(',').next())
                .and_then(|first| parse_address(first.trim()));
            if forwarded.is_some() {
                return forwarded;
            }
        }
        self.address.map(|address| address.to_canonical())
    }
}

/// Reads `1.2.3.4`, `2001:db8::1`, and what some proxies write: `1.2.3.4:567` and `[2001:db8::1]:567`.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text
        .parse()
        .ok()
        .or_else(|| text.parse().ok().map(|socket: std::net::SocketAddr| socket.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(address.to_canonical())
}

/// The client's address; `None` on a unix socket without X-Forwarded-For.
#[derive(Debug, Clone, Copy)]
pub struct ClientIp(pub Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for ClientIp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(of(parts)))
    }
}

/// Where a request comes from, for policy hooks.
#[derive(Debug, Clone)]
pub struct RequestInfo(pub ClientInfo);

impl<S: Send + Sync> FromRequestParts<S> for RequestInfo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let address = of(parts).map(|address| address.to_string()).unwrap_or_default();
        Ok(Self(ClientInfo { user_agent: agent.map(str::to_owned), address }))
    }
}

pub(crate) fn of(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<Peer>()?.client_ip(&parts.headers)
}

/// The connection of the request, for a handler that waits for something to happen.
#[derive(Debug, Clone)]
pub struct LongPolling(pub LongPoll);

impl<S: Send + Sync> FromRequestParts<S> for LongPolling {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().cloned().unwrap_or_default()))
    }
}

/// The address by which clients that are not known are counted where each may have a share of something. `None` if many
/// may be behind it.
#[derive(Debug, Clone, Copy)]
pub struct Source(pub Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(source(&parts.extensions, &parts.headers)))
    }
}

/// Returns the [`Source`] of a request with these extensions and headers.
pub fn source(extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    distinct(extensions.get::<Peer>()?.client_ip(headers)?)
}

/// Returns the address if one client is behind it; of IPv6 the network, all addresses of which belong to one client.
fn distinct(address: IpAddr) -> Option<IpAddr> {
    (!is_shared_by_many(address)).then(|| network(Some(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_ip(forwarded: &str, x_forwarded: bool) -> String {
        let peer = Peer {
            address: "::ffff:127.0.0.1".parse().ok(),
            tls: false,
            x_forwarded,
            request_id_header: None,
            site: "8008".into(),
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        peer.client_ip(&headers).map(|ip| ip.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_trusted_proxy_says_who_the_client_is() {
        assert_eq!(client_ip("203.0.113.7", true), "203.0.113.7");
        assert_eq!(client_ip("203.0.113.7, 10.0.0.1", true), "203.0.113.7");
        assert_eq!(client_ip("203.0.113.7:4711", true), "203.0.113.7");
        assert_eq!(client_ip("2001:db8::1", true), "2001:db8::1");
        assert_eq!(client_ip("[2001:db8::1]:4711", true), "2001:db8::1");
        assert_eq!(client_ip("unknown", true), "127.0.0.1");
        assert_eq!(client_ip("203.0.113.7", false), "127.0.0.1");
    }

    #[test]
    fn a_request_id_is_one_word() {
        let mut headers = HeaderMap::new();
        let peer = Peer {
            address: None,
            tls: false,
            x_forwarded: true,
            request_id_header: Some(HeaderName::from_static("x-request-id")),
            site: "8008".into(),
        };
        for (id, taken) in [("a3F-7_b.c:d", true), ("1 - 192.0.2.1 - 8008 - {None}", false), ("", false)] {
            headers.insert("x-request-id", id.parse().unwrap());
            assert_eq!(peer.request_id(&headers), taken.then_some(id), "{id}");
        }
    }

    #[test]
    fn a_client_counts_by_its_network_unless_a_proxy_does() {
        let source = |address: &str| distinct(address.parse().unwrap()).map(|source| source.to_string());
        assert_eq!(source("203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(source("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::"));
        for proxy in ["127.0.0.1", "10.0.0.1", "172.17.0.1", "192.168.1.1", "100.64.3.4", "::1", "fd00::1", "fe80::1"] {
            assert_eq!(source(proxy), None, "{proxy}");
        }
    }
}
