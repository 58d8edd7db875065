//! Why a request to another server failed.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use plexus_protocol::id::ServerName;
use serde::Deserialize;

use crate::dns::DnsError;
use crate::http::dial::DialError;
use crate::http::error::{ConnectError, HttpError, RedirectError};

/// Why a request to another server failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FederationError {
    /// `federation_domain_whitelist` does not have it.
    #[error("federation with {0} is not allowed here")]
    NotAllowed(ServerName),
    /// The destination is this server.
    #[error("a request to this server itself")]
    OwnServer,
    /// The path or the body of the request is malformed.
    #[error("the request is malformed: {0}")]
    MalformedRequest(String),
    /// The destination failed before and is backed off.
    #[error("{destination} failed before and is backed off for now")]
    BackingOff {
        /// The destination.
        destination: ServerName,
        /// Until when, in Unix ms.
        until_ms: u64,
    },
    /// There is no connection.
    #[error("{destination} cannot be reached: {cause}")]
    Unreachable {
        /// The destination.
        destination: ServerName,
        /// The reason.
        cause: Arc<UnreachableError>,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("the exchange with {destination} failed: {cause}")]
    Broken {
        /// The destination.
        destination: ServerName,
        /// The reason.
        cause: Arc<hyper::Error>,
    },
    /// The response, or all of it, did not come in time.
    #[error("{0} did not respond in time")]
    Timeout(ServerName),
    /// The status is not 2xx.
    #[error(
        "{destination} responded with {status}: {} {}",
        errcode.as_deref().unwrap_or("-"), error.as_deref().unwrap_or("")
    )]
    Status {
        /// The destination.
        destination: ServerName,
        /// The status.
        status: StatusCode,
        /// `errcode`, if the response has one.
        errcode: Option<String>,
        /// `error`, if the response has one.
        error: Option<String>,
        /// The body; empty if it is longer than 64 KiB.
        body: Bytes,
    },
    /// The response is larger than allowed.
    #[error("the response of {destination} is larger than {limit} bytes")]
    TooLarge {
        /// The destination.
        destination: ServerName,
        /// The largest that is read, in bytes.
        limit: usize,
    },
    /// The response is not the JSON that the endpoint returns.
    #[error("the response of {destination} is malformed: {problem}")]
    MalformedResponse {
        /// The destination.
        destination: ServerName,
        /// What is wrong with it.
        problem: String,
    },
}

/// Why a server cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum UnreachableError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// SRV records could not be looked up.
    #[error("cannot look up the SRV records of {name}: {source}")]
    Services {
        /// Their name.
        name: String,
        /// The reason.
        source: DnsError,
    },
    /// The SRV records say that there is no such service (RFC 2782, a target of ".").
    #[error("{0} says that it has no federation service")]
    NoService(String),
    /// It redirects somewhere that is not followed.
    #[error(transparent)]
    Redirect(#[from] RedirectError),
}

#[derive(Deserialize)]
struct ErrorBody {
    errcode: Option<String>,
    error: Option<String>,
}

impl FederationError {
    pub(super) fn unreachable(destination: &ServerName, cause: UnreachableError) -> Self {
        Self::Unreachable { destination: destination.clone(), cause: Arc::new(cause) }
    }

    pub(super) fn of_http(destination: &ServerName, error: HttpError) -> Self {
        match error {
            HttpError::Connect(cause) => Self::unreachable(destination, cause.into()),
            HttpError::Redirect(cause) => Self::unreachable(destination, cause.into()),
            HttpError::Broken(cause) => Self::Broken { destination: destination.clone(), cause: Arc::new(cause) },
            HttpError::Timeout => Self::Timeout(destination.clone()),
            HttpError::TooLarge(limit) => Self::TooLarge { destination: destination.clone(), limit },
        }
    }

    /// The error of a response that is not what it should be.
    pub fn malformed_response(destination: &ServerName, problem: impl Into<String>) -> Self {
        Self::MalformedResponse { destination: destination.clone(), problem: problem.into() }
    }

    /// The error of a response whose status is not 2xx.
    pub(super) fn of_status(destination: ServerName, status: StatusCode, body: Bytes) -> Self {
        let stated = serde_json::from_slice::<ErrorBody>(&body);
        let ErrorBody { errcode, error } = stated.unwrap_or(ErrorBody { errcode: None, error: None });
        Self::Status { destination, status, errcode, error, body }
    }

    /// The status of the response, if that is the error.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The `errcode` of the response, if it has one.
    pub fn errcode(&self) -> Option<&str> {
        match self {
            Self::Status { errcode, .. } => errcode.as_deref(),
            _ => None,
        }
    }

    /// Whether the destination does not know the endpoint: 404 or 405 with `M_UNRECOGNIZED`, or the response that
    /// servers gave before the specification had that.
    pub fn is_unknown_endpoint(&self) -> bool {
        let Self::Status { status, errcode, body, .. } = self else { return false };
        let unrecognized = errcode.as_deref() == Some("M_UNRECOGNIZED");
        match status.as_u16() {
            404 | 405 => unrecognized || !body.starts_with(b"{"),
            400 => unrecognized,
            _ => false,
        }
    }

    /// Whether the destination itself is in trouble, or refuses every request of this server, and is to be backed off.
    /// Other errors are about the request.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Timeout(_) => true,
            Self::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 401 | 429),
            _ => false,
        }
    }

    /// Whether the same request may succeed within minutes.
    pub(super) fn is_worth_a_later_try(&self) -> bool {
        match self {
            Self::Unreachable { cause, .. } => !matches!(
                **cause,
                UnreachableError::Connect(
                    ConnectError::Dial(DialError::NoAddress(_) | DialError::Forbidden(_)) | ConnectError::Address(_)
                ) | UnreachableError::NoService(_)
                    | UnreachableError::Redirect(_)
            ),
            Self::Broken { .. } | Self::Timeout(_) => true,
            Self::Status { status, .. } => status.is_server_error() || status.as_u16() == 429,
            _ => false,
        }
    }

    /// Whether the same request may succeed within seconds.
    pub(super) fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Unreachable { cause, .. } => {
                self.is_worth_a_later_try()
                    && !matches!(
                        **cause,
                        UnreachableError::Connect(ConnectError::Dial(DialError::Lookup { .. }))
                            | UnreachableError::Services { .. }
                    )
            }
            // It has been waited for long enough, a few seconds more make no difference.
            Self::Timeout(_) => false,
            _ => self.is_worth_a_later_try(),
        }
    }
}
