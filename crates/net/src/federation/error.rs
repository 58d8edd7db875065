//! Why a request to another server failed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use plexus_protocol::id::ServerName;
use serde::Deserialize;

use crate::dns::DnsError;
use crate::http::causes::Causes;
use crate::http::dial::DialError;
use crate::http::error::{ConnectError, HttpError, RedirectError};

/// The most characters of a text of another server in a message.
const MAX_TEXT_CHARS: usize = 300;
/// The longest that another server may tell us to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

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
    /// Within its timeout the request could not be sent: too many others to the destination are under way, or its
    /// .well-known has not responded yet.
    #[error("a request to {0} had to wait for too long before it could be sent")]
    NotSent(ServerName),
    /// There is no connection.
    #[error("{destination} cannot be reached: {cause}")]
    Unreachable {
        /// The destination.
        destination: ServerName,
        /// The reason.
        cause: Arc<UnreachableError>,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("the exchange with {destination} failed: {}", Causes(cause))]
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
        shortened(errcode.as_deref().unwrap_or("-")), shortened(error.as_deref().unwrap_or(""))
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
        /// How long to wait before the next request, if the response says so: at most an hour.
        retry_after: Option<Duration>,
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

#[derive(Default, Deserialize)]
struct ErrorBody {
    errcode: Option<String>,
    error: Option<String>,
    /// ms; deprecated since v1.10 of the specification in favour of `Retry-After`.
    retry_after_ms: Option<u64>,
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(MAX_TEXT_CHARS).map_or(text, |(end, _)| &text[..end])
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

    /// Returns the error for a malformed response.
    pub fn malformed_response(destination: &ServerName, problem: impl Into<String>) -> Self {
        Self::MalformedResponse { destination: destination.clone(), problem: problem.into() }
    }

    /// The error of a response whose status is not 2xx.
    pub(super) fn of_status(destination: ServerName, status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        let ErrorBody { errcode, error, retry_after_ms } = serde_json::from_slice(&body).unwrap_or_default();
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(Duration::from_secs).or(retry_after_ms.map(Duration::from_millis));
        let retry_after = retry_after.map(|wait| wait.min(MAX_RETRY_AFTER));
        Self::Status { destination, status, errcode, error, body, retry_after }
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
        let Self::Status { status, errcode, .. } = self else { return false };
        match errcode.as_deref() {
            Some(errcode) => errcode == "M_UNRECOGNIZED" && matches!(status.as_u16(), 400 | 404 | 405),
            None => matches!(status.as_u16(), 404 | 405),
        }
    }

    /// Whether the destination itself is in trouble, and is to be backed off. Other errors are about the request, or
    /// about how many of its kind there were.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } => !self.is_of_proxy(),
            Self::Broken { .. } | Self::Timeout(_) => true,
            // Media that somebody has announced and not uploaded yet.
            Self::Status { errcode: Some(errcode), .. } if errcode == "M_NOT_YET_UPLOADED" => false,
            Self::Status { status, .. } => status.is_server_error(),
            _ => false,
        }
    }

    /// Whether the destination asks for fewer requests such as this one.
    pub(super) fn is_too_many_requests(&self) -> bool {
        self.status() == Some(StatusCode::TOO_MANY_REQUESTS)
    }

    /// Whether a forward proxy is to blame.
    pub(super) fn is_of_proxy(&self) -> bool {
        match self {
            Self::Unreachable { cause, .. } => {
                matches!(&**cause, UnreachableError::Connect(error) if error.is_of_proxy())
            }
            _ => false,
        }
    }

    /// Whether a forward proxy is out of order, so that the error says nothing about the destination.
    pub(super) fn is_of_broken_proxy(&self) -> bool {
        match self {
            Self::Unreachable { cause, .. } => {
                matches!(&**cause, UnreachableError::Connect(error) if error.is_of_broken_proxy())
            }
            _ => false,
        }
    }

    /// For how long nothing is sent through the forward proxy, if that is why the request failed.
    pub(super) fn proxy_left_alone_for(&self) -> Option<Duration> {
        match self {
            Self::Unreachable { cause, .. } => match &**cause {
                UnreachableError::Connect(ConnectError::Proxy { left_alone_for, .. }) => *left_alone_for,
                _ => None,
            },
            _ => None,
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
            Self::Status { status, .. } => status.is_server_error(),
            _ => false,
        }
    }

    /// How long the destination asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same request may succeed within seconds.
    pub(super) fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Unreachable { cause, .. } => {
                self.is_worth_a_later_try()
                    && !self.is_of_proxy()
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
