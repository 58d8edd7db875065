//! Delivery to other servers, and receiving their EDUs.
//!
//! - [`outbox`]: delivery of the log to destinations of any kind
//! - [`federation_out`]: delivers events and EDUs to other servers
//! - [`edu`]: receives EDUs of other servers

#![warn(missing_docs, unreachable_pub)]

pub mod edu;
pub mod federation_out;
pub mod outbox;

pub use edu::{EduReceiver, EduReceiverParts};
pub use federation_out::{FederationOut, FederationOutParts};
