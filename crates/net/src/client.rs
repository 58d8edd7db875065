//! One HTTP/1.1 request over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Purpose;
use crate::dial::{AddressGuard, DialError, Dialer};
use crate::dns::SystemLookup;
use crate::tls::{Tls, TlsSetupError};

/// How long a whole request may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Not an http(s) address with a host.
    #[error("{0} is not an http:// or https:// address")]
    Address(Uri),
    /// Nobody listens there, or the name does not resolve.
    #[error(transparent)]
    Connect(#[from] DialError),
    /// TLS cannot be set up at all.
    #[error("TLS cannot be set up: {0}")]
    TlsSetup(#[from] TlsSetupError),
    /// TLS could not be set up.
    #[error("TLS with {address} failed: {source}")]
    Tls {
        /// host:port
        address: String,
        /// What rustls said.
        source: std::io::Error,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("the request failed: {0}")]
    Http(#[from] hyper::Error),
    /// The answer's body broke off or was larger than 16 MiB.
    #[error("the answer could not be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// No answer within a minute.
    #[error("no answer within a minute")]
    Timeout,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Sends `request`, whose address is absolute, and reads the whole answer.
///
/// # Errors
/// See [`NetError`]; an HTTP error status is an [`Answer`].
pub async fn send(purpose: Purpose, request: Request<Bytes>) -> Result<Answer, NetError> {
    tokio::time::timeout(TIMEOUT, send_untimed(purpose, request)).await.unwrap_or(Err(NetError::Timeout))
}

async fn send_untimed(purpose: Purpose, request: Request<Bytes>) -> Result<Answer, NetError> {
    let uri = request.uri().clone();
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(NetError::Address(uri));
    };
    let encrypted = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(NetError::Address(uri)),
    };
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    // The brackets of an IPv6 literal belong to the address, not to the name.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let address = format!("{host}:{port}");
    let dialer = Dialer::new(Arc::new(SystemLookup), AddressGuard::default());
    let stream = dialer.dial(purpose, &host, port).await?;
    let request = on_the_wire(request)?;
    if encrypted {
        let tls = Tls::unverified()?;
        let stream = tls.connect(&host, stream).await.map_err(|source| NetError::Tls { address, source })?;
        exchange(stream, request).await
    } else {
        exchange(stream, request).await
    }
}

/// The request as it goes over the connection: its path alone, and a Host header.
fn on_the_wire(request: Request<Bytes>) -> Result<Request<Full<Bytes>>, NetError> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let host = authority.and_then(|authority| HeaderValue::from_str(authority).ok());
    let path = parts.uri.path_and_query().cloned();
    let (Some(host), Some(path)) = (host, path) else {
        return Err(NetError::Address(parts.uri));
    };
    parts.headers.entry(HOST).or_insert(host);
    parts.uri = Uri::from(path);
    Ok(Request::from_parts(parts, Full::new(body)))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, NetError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(NetError::Body)?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection may end before the answer was taken out of it.
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}
