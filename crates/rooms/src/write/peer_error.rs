//! Why another server did not do what it was asked.

use plexus_protocol::id::ServerName;

/// Why another server did not do what it was asked, as far as it matters to rooms.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// This server may not speak with it.
    #[error("federation with {0} is not allowed here")]
    NotAllowed(ServerName),
    /// It did not receive the request.
    #[error("{0}")]
    Unreachable(String),
    /// It may have received the request, but it did not respond, or not completely.
    #[error("{0}")]
    NoResponse(String),
    /// It refused.
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
    /// Its response is not what it should be.
    #[error("the response of {server} is malformed: {problem}")]
    Malformed {
        /// The server.
        server: ServerName,
        /// What is wrong with it.
        problem: String,
    },
}

impl PeerError {
    /// The error of a server that has not responded in time.
    #[must_use]
    pub fn timeout(server: &ServerName) -> Self {
        Self::NoResponse(format!("{server} did not respond in time"))
    }

    /// The error of a response that is not what it should be.
    pub fn malformed(server: &ServerName, problem: impl Into<String>) -> Self {
        Self::Malformed { server: server.clone(), problem: problem.into() }
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the server may have done what it was asked.
    #[must_use]
    pub fn may_have_succeeded(&self) -> bool {
        match self {
            Self::NotAllowed(_) | Self::Unreachable(_) => false,
            Self::NoResponse(_) | Self::Malformed { .. } => true,
            Self::Refused { status, .. } => (500..600).contains(status),
        }
    }
}
