//! The only outgoing sockets of the program.
//!
//! - [`client`]: one HTTP request over a connection of its own
//! - [`Purpose`]: why a connection is opened, which decides what it may do

pub mod client;
mod tls;

pub use client::{Answer, NetError, send};

/// Why a connection is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The operator's own command talks to the server named on the command line. Its certificate is not verified, since it is
    /// often self-signed or named otherwise; what is sent is protected by its own HMAC (as in register_new_matrix_user).
    OperatorCommand,
}
