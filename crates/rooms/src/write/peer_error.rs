//! Errors of requests to other servers.

use plexus_protocol::id::ServerName;

/// A request to another server failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// Federation with the server is not allowed.
    #[error("federation with {0} is not allowed here")]
    NotAllowed(ServerName),
    /// The server did not receive the request.
    #[error("{0}")]
    Unreachable(String),
    /// The server may have received the request, but did not respond completely.
    #[error("{0}")]
    NoResponse(String),
    /// The server refused the request.
    #[error("{server} refuses with {status}: {} {}", errcode.as_deref().unwrap_or("-"), error.as_deref().unwrap_or(""))]
    Refused {
        /// The server.
        server: ServerName,
        /// The HTTP status.
        status: u16,
        /// `errcode` of the response.
        errcode: Option<String>,
        /// `error` of the response.
        error: Option<String>,
    },
    /// The response is malformed.
    #[error("the response of {server} is malformed: {problem}")]
    Malformed {
        /// The server.
        server: ServerName,
        /// The problem.
        problem: String,
    },
}

impl PeerError {
    /// Returns the error of a server that has not responded in time.
    #[must_use]
    pub fn timeout(server: &ServerName) -> Self {
        Self::NoResponse(format!("{server} did not respond in time"))
    }

    /// Returns the error of a malformed response.
    pub fn malformed(server: &ServerName, problem: impl Into<String>) -> Self {
        Self::Malformed { server: server.clone(), problem: problem.into() }
    }

    /// Returns the HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the server may have carried out the request.
    #[must_use]
    pub fn may_have_succeeded(&self) -> bool {
        match self {
            Self::NotAllowed(_) | Self::Unreachable(_) => false,
            Self::NoResponse(_) | Self::Malformed { .. } => true,
            Self::Refused { status, .. } => (500..600).contains(status),
        }
    }
}
