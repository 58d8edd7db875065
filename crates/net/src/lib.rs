//! The only outgoing sockets of the program.
//!
//! - [`federation`]: requests to other servers, signed, and the keys that theirs are signed with
//! - [`client`]: one HTTP request over a connection of its own
//! - [`dns`]: names into addresses
//! - [`Purpose`]: why a connection is opened, which decides what it may do

pub mod client;
mod dial;
pub mod dns;
pub mod federation;
mod percent;
mod tls;

pub use client::{Answer, NetError, send};
pub use dial::{AddressGuard, DialError};
pub use federation::{
    Call, CameBack, FederationClient, FederationError, Gates, KeyRing, NotSigned, Patience, StreamedAnswer,
    TooManySearches, WantedKey,
};
pub use percent::{percent_decode, percent_encode};
pub use tls::{TlsSettings, TlsSetupError};

/// Why a connection is opened. Every connection states it where it is dialled: the one place where a forward proxy can be
/// put in between, for some purposes and not for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The operator's own command talks to the server named on the command line. Its certificate is not verified, since it is
    /// often self-signed or named otherwise; what is sent is protected by its own HMAC (as in register_new_matrix_user).
    OperatorCommand,
    /// A signed request to another server.
    Federation,
    /// Where another server is to be found: `/.well-known/matrix/server`.
    WellKnown,
    /// Media that another server says lies elsewhere.
    RemoteMedia,
    /// Whether an identity server stands by a key of a third-party invite.
    IdentityServer,
}
