//! Memberships.

pub mod create_invite;
pub mod create_join_event;
pub mod create_knock_event;
pub mod create_leave_event;
pub mod prepare_join_event;
pub mod prepare_knock_event;
pub mod prepare_leave_event;

use serde::Deserialize;

use super::RawPdu;

/// An event to be completed and signed.
#[derive(Debug, Deserialize)]
pub struct EventTemplate {
    /// The version of the room; servers older than room versions do not name one.
    pub room_version: Option<String>,
    /// The event without hashes and signatures.
    pub event: RawPdu,
}
