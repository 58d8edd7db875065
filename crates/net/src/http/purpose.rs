//! Why a request is sent, and everything that follows from it.

use std::time::Duration;

/// The most redirects that are followed where any are.
const MAX_REDIRECTS: usize = 10;

/// Why a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The operator's own command talks to the server named on the command line. Passwords are sent, so the certificate
    /// is verified unless nobody can be in between or the operator says so.
    OperatorCommand {
        /// Whether every certificate is accepted.
        any_certificate: bool,
    },
    /// A signed request to another server; each endpoint has its own limits.
    Federation(Limits),
    /// Where another server is to be found: `/.well-known/matrix/server`.
    WellKnown,
    /// Media that another server says lies elsewhere.
    RemoteMedia(Limits),
    /// Whether an identity server stands by a key of a third-party invite.
    IdentityServer,
}

/// How much of a response is waited for and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long to wait for the head of the response, and then again for its body.
    pub timeout: Duration,
    /// The largest body that is read, in bytes.
    pub max_response_bytes: usize,
}

/// What is decided about the requests of one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Which addresses may be connected to.
    pub(crate) addresses: Addresses,
    /// Which certificates are accepted.
    pub(crate) certificates: Certificates,
    /// How many redirects are followed, never from https to http.
    pub(crate) max_redirects: usize,
    /// Whether a connection is kept for the next request.
    pub(crate) keeps_connections: bool,
    /// Whether the request waits until few others are under way.
    pub(crate) waits_its_turn: bool,
    pub(crate) limits: Limits,
}

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// All.
    Any,
    /// Those that `federation_ip_range_blacklist`, or `ip_range_blacklist`, permits.
    Federation,
}

/// Which certificates are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificates {
    /// All.
    Any,
    /// Those that `federation_verify_certificates` and the options beside it accept.
    Federation,
}

impl Purpose {
    /// The table: one row for each purpose.
    pub(crate) const fn policy(self) -> Policy {
        match self {
            Self::OperatorCommand { any_certificate } => Policy {
                addresses: Addresses::Any,
                certificates: if any_certificate { Certificates::Any } else { Certificates::Federation },
                max_redirects: 0,
                keeps_connections: false,
                waits_its_turn: false,
                limits: limits(60, 16 * 1024 * 1024),
            },
            Self::Federation(limits) => Policy {
                addresses: Addresses::Federation,
                certificates: Certificates::Federation,
                max_redirects: 0,
                keeps_connections: true,
                waits_its_turn: true,
                limits,
            },
            Self::WellKnown => Policy {
                addresses: Addresses::Federation,
                certificates: Certificates::Federation,
                max_redirects: MAX_REDIRECTS,
                keeps_connections: false,
                waits_its_turn: true,
                limits: limits(15, 50 * 1024),
            },
            Self::RemoteMedia(limits) => Policy {
                addresses: Addresses::Federation,
                certificates: Certificates::Federation,
                max_redirects: MAX_REDIRECTS,
                keeps_connections: false,
                waits_its_turn: true,
                limits,
            },
            Self::IdentityServer => Policy {
                addresses: Addresses::Federation,
                certificates: Certificates::Federation,
                max_redirects: MAX_REDIRECTS,
                keeps_connections: false,
                waits_its_turn: true,
                limits: limits(10, 64 * 1024),
            },
        }
    }
}

const fn limits(seconds: u64, max_response_bytes: usize) -> Limits {
    Limits { timeout: Duration::from_secs(seconds), max_response_bytes }
}
