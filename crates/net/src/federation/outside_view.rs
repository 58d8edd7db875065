//! This server as other servers find it: by its name alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::Full;
use plexus_base::{Background, Clock, Random};
use plexus_protocol::id::{Host, ServerName};

use super::connect::connect;
use super::discovery::Discovery;
use super::error::UnreachableError;
use crate::http::client::{HttpClient, HttpResponse, WholeResponse};
use crate::http::error::{ConnectError, HttpError};
use crate::http::pool::{self, Slot};
use crate::http::purpose::{Limits, Purpose};

/// Of one request.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(30), max_response_bytes: 64 * 1024 };

/// Looks at servers from outside, without signing requests and without remembering which of them fail.
pub struct OutsideView {
    http: Arc<HttpClient>,
    discovery: Arc<Discovery>,
    random: Random,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum OutsideViewError {
    /// There is no connection.
    #[error(transparent)]
    Unreachable(#[from] UnreachableError),
    /// The request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The path is none.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// The connection or the response took too long.
    #[error("no response within {} s", LIMITS.timeout.as_secs())]
    Timeout,
}

/// What `/.well-known/matrix/server` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WellKnown {
    /// The name has a port, or is an address: nobody asks.
    NotAsked,
    /// It leads to another name.
    Delegates(ServerName),
    /// There is no such file.
    Absent,
    /// Whether there is one could not be found out, or it is not valid; the reason.
    Unusable(String),
}

impl OutsideView {
    /// A view through `http`.
    pub fn new(http: Arc<HttpClient>, clock: Clock, random: Random, background: Background) -> Self {
        let discovery = Arc::new(Discovery::new(Arc::clone(&http), clock, background));
        Self { http, discovery, random }
    }

    /// Returns what `/.well-known/matrix/server` of `server` says.
    pub async fn well_known(&self, server: &ServerName) -> WellKnown {
        let (host, port) = server.host_port();
        if port.is_some() || matches!(server.host(), Host::Address(_)) {
            return WellKnown::NotAsked;
        }
        match self.discovery.look(host).await {
            Ok(name) => WellKnown::Delegates(name),
            Err(error) if error.is_absence() => WellKnown::Absent,
            Err(error) => WellKnown::Unusable(error.to_string()),
        }
    }

    /// GETs `path` of the server that is reached as `authority`, after delegation. The certificate must be for that
    /// name.
    ///
    /// # Errors
    /// See [`OutsideViewError`].
    pub async fn get(&self, authority: &ServerName, path: &str) -> Result<WholeResponse, OutsideViewError> {
        let purpose = Purpose::Federation(LIMITS);
        let uri: Uri = path.parse().map_err(|error| OutsideViewError::Malformed(format!("{error}")))?;
        let host = HeaderValue::from_str(authority.as_str());
        let host = host.map_err(|error| OutsideViewError::Malformed(error.to_string()))?;
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = uri;
        *request.headers_mut() = HeaderMap::from_iter([(HOST, host)]);
        let turn = self.http.turn(purpose).await;
        let open = async |slot: Slot| {
            let stream = connect(self.http.connector(), purpose, authority, &self.random).await?;
            let sender = pool::speak(stream, slot).await;
            sender.map_err(|error| UnreachableError::from(ConnectError::from(error)).into())
        };
        let getting = async {
            let exchanged = self.http.exchange(purpose, authority.as_str(), open, request, true).await;
            let (response, lease) = exchanged.map_err(|error: OutsideViewError| error)?;
            let HttpResponse { status, headers, body } = HttpResponse::new(response, LIMITS, lease, turn);
            Ok(WholeResponse { status, headers, body: body.whole().await? })
        };
        #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
        let got = tokio::time::timeout(LIMITS.timeout, getting).await;
        got.unwrap_or(Err(OutsideViewError::Timeout))
    }
}
