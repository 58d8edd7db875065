//! Whether a TURN server can be reached.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};

use crate::dns::{DnsError, Resolve};

/// How long to wait for a response, and then once more after asking again: datagrams get lost.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
const TRIES: u32 = 2;
/// The first bytes of a STUN message (RFC 8489, section 5): a binding request and its success response.
const BINDING_REQUEST: [u8; 2] = [0, 1];
const BINDING_RESPONSE: [u8; 2] = [1, 1];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Why a TURN server cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// It is no URI of a TURN server (RFC 7065).
    #[error("it is not written as turn:host:port?transport=udp")]
    Uri,
    /// The name cannot be looked up.
    #[error("its name cannot be looked up: {0}")]
    Lookup(#[from] DnsError),
    /// The name does not exist.
    #[error("its name has no address")]
    NoAddress,
    /// The system, or the server, refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is no response.
    #[error("it does not respond")]
    Silent,
}

/// A TURN server as its URI names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TurnServer {
    host: String,
    port: u16,
    is_datagram: bool,
}

impl TurnServer {
    fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once(':')?;
        let default_port = match scheme {
            "turn" => 3478,
            "turns" => 5349,
            _ => return None,
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let transport = query.strip_prefix("transport=");
        let is_datagram = match (scheme, transport) {
            ("turn", None | Some("udp")) | ("turns", Some("udp")) => true,
            (_, None | Some("tcp")) => false,
            _ => return None,
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']')?;
                (host, rest.strip_prefix(':'))
            }
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, is_datagram })
    }
}

/// Asks the TURN server at `uri` for a sign of life: over UDP by a STUN binding request, over TCP by a connection.
///
/// # Errors
/// See [`TurnError`].
pub async fn reach(uri: &str, names: &dyn Resolve, transaction_id: [u8; 12]) -> Result<(), TurnError> {
    let TurnServer { host, port, is_datagram } = TurnServer::parse(uri).ok_or(TurnError::Uri)?;
    let address = match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port),
        Err(_) => names.addresses(&host, port).await?.first().copied().ok_or(TurnError::NoAddress)?,
    };
    if is_datagram { bind_over_udp(address, transaction_id).await } else { connect_over_tcp(address).await }
}

async fn connect_over_tcp(address: SocketAddr) -> Result<(), TurnError> {
    #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
    let connected = tokio::time::timeout(RESPONSE_TIMEOUT * TRIES, TcpStream::connect(address)).await;
    connected.map_err(|_| TurnError::Silent)??;
    Ok(())
}

async fn bind_over_udp(address: SocketAddr, transaction_id: [u8; 12]) -> Result<(), TurnError> {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    let request = [&BINDING_REQUEST[..], &[0, 0], &MAGIC_COOKIE, &transaction_id].concat();
    for _ in 0..TRIES {
        socket.send(&request).await?;
        let mut response = [0; 512];
        #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
        let received = tokio::time::timeout(RESPONSE_TIMEOUT, socket.recv(&mut response)).await;
        let Ok(length) = received else { continue };
        let response = response.get(..length?).unwrap_or_default();
        if response.starts_with(&BINDING_RESPONSE) && response.get(8..20) == Some(&transaction_id[..]) {
            return Ok(());
        }
    }
    Err(TurnError::Silent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Lookup, Service};

    struct NoNames;

    impl Resolve for NoNames {
        fn addresses<'a>(&'a self, _host: &'a str, _port: u16) -> Lookup<'a, Vec<SocketAddr>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn services<'a>(&'a self, _name: &'a str) -> Lookup<'a, Vec<Service>> {
            Box::pin(async { Ok(Vec::new()) })
        }
    }

    #[test]
    fn uris_name_host_port_and_transport() {
        let server = |host: &str, port, is_datagram| Some(TurnServer { host: host.to_owned(), port, is_datagram });
        for (uri, expected) in [
            ("turn:turn.example", server("turn.example", 3478, true)),
            ("turn:turn.example:3479?transport=tcp", server("turn.example", 3479, false)),
            ("turns:turn.example", server("turn.example", 5349, false)),
            ("turns:turn.example?transport=udp", server("turn.example", 5349, true)),
            ("turn:[2001:db8::1]:80?transport=udp", server("2001:db8::1", 80, true)),
            ("stun:turn.example", None),
            ("turn:", None),
            ("turn:turn.example:x", None),
            ("turn:turn.example?transport=sctp", None),
            ("turn.example", None),
        ] {
            assert_eq!(TurnServer::parse(uri), expected, "{uri}");
        }
    }

    #[tokio::test]
    async fn only_the_response_to_the_request_counts() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("turn:{}", server.local_addr().unwrap());
        let answering = tokio::spawn(async move {
            let mut request = [0; 64];
            let (length, from) = server.recv_from(&mut request).await.unwrap();
            assert_eq!((length, &request[..8]), (20, &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..]));
            // Nonsense first.
            server.send_to(b"hello", from).await.unwrap();
            let (_, from) = server.recv_from(&mut request).await.unwrap();
            request[0] = 1;
            server.send_to(&request[..20], from).await.unwrap();
        });
        reach(&uri, &NoNames, [7; 12]).await.unwrap();
        answering.await.unwrap();
        let nobody = reach("turn:nobody.example", &NoNames, [7; 12]).await;
        assert!(matches!(nobody, Err(TurnError::NoAddress)));
        let refused = reach("turn:127.0.0.1:1?transport=tcp", &NoNames, [7; 12]).await;
        assert!(matches!(refused, Err(TurnError::Io(_))));
    }
}
