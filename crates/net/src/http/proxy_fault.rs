//! What can be wrong with a forward proxy.

use std::time::Duration;

use http::StatusCode;

use crate::http::causes::Causes;
use crate::http::dial::DialError;

/// What is wrong with a proxy, or what it refuses.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    /// It cannot be connected to.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The TLS handshake with it failed.
    #[error("TLS with it failed: {0}")]
    Tls(std::io::Error),
    /// It asks for another user name or password (407).
    #[error("it does not accept the user name and password (407)")]
    Credentials,
    /// It asks for a user name and password, and none are configured (407).
    #[error("it asks for a user name and password (407)")]
    NoCredentials,
    /// It responds with another status.
    #[error("it does not open a connection to {target}: it responded with {status}")]
    Refused {
        /// host:port
        target: String,
        /// The status.
        status: StatusCode,
    },
    /// It does not respond.
    #[error("it did not open a connection to {target} within {} ms", timeout.as_millis())]
    NoResponse {
        /// host:port
        target: String,
        /// How long it was waited for.
        timeout: Duration,
        /// Whether it responded to others meanwhile, so that the target is what does not respond.
        others_are_served: bool,
    },
    /// It closes the connection without a response.
    #[error("it closes the connection instead of opening one to {target}")]
    HungUp {
        /// host:port
        target: String,
        /// As of [`Self::NoResponse`].
        others_are_served: bool,
    },
    /// What is to be connected to is not the name of a host.
    #[error("{0} is no host that it could be asked for")]
    Target(String),
    /// What it sends is not HTTP.
    #[error("its response is not HTTP: {}", Causes(.0))]
    Malformed(#[from] hyper::Error),
    /// It failed before, and is left alone for a moment.
    #[error("it failed a moment ago: {0}")]
    FailedBefore(String),
}

impl ProxyFault {
    /// Whether the target is what cannot be reached, if the proxy works otherwise.
    pub(super) fn is_about_target(&self) -> bool {
        match self {
            Self::Refused { status, .. } => status.is_server_error(),
            Self::NoResponse { others_are_served, .. } | Self::HungUp { others_are_served, .. } => *others_are_served,
            Self::Target(_) => true,
            _ => false,
        }
    }

    /// Whether nothing else could go through the proxy either, as far as is known.
    pub(super) fn is_about_every_target(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::FailedBefore(_))
    }
}
