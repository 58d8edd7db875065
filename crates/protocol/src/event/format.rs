//! The event format: its limits, and why JSON is not an event
//! ([Size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits)).

use crate::{
    id::IdError,
    json::{NotCanonical, ParseError},
};

/// The largest event, in bytes of canonical JSON with signatures.
pub const MAX_PDU: usize = 65_536;
/// The longest `type`, `state_key`, `sender`, `room_id` and `event_id`, in bytes. In room versions 1 to 10 a `type` or
/// `state_key` received may have as many characters instead: such an event is one, but
/// [`check_state_independent`](crate::auth::check_state_independent) rejects it. Identifiers have bytes everywhere.
pub const MAX_FIELD: usize = 255;
/// The most events that one event may follow.
pub const MAX_PREV_EVENTS: usize = 20;
/// The most events that may be given as allowing one event.
pub const MAX_AUTH_EVENTS: usize = 10;

/// Why JSON is not an event of its room version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    #[error(transparent)]
    Json(#[from] ParseError),
    #[error("event is not canonical JSON: {0}")]
    NotCanonical(#[from] NotCanonical),
    #[error("event has {0} bytes, more than {MAX_PDU}")]
    TooLarge(usize),
    #[error("event has no {0}")]
    Missing(&'static str),
    #[error("{0} of the event has the wrong type or is out of range")]
    WrongType(&'static str),
    #[error("{0} of the event is longer than {MAX_FIELD}")]
    FieldTooLong(&'static str),
    #[error("{0} of the event {1}")]
    InvalidId(&'static str, IdError),
    #[error("room_id of the event does not fit its room version")]
    RoomIdFormat,
    #[error("event_id of the event does not fit its room version")]
    EventIdFormat,
    #[error("event has {1} {0}, too many")]
    TooManyReferences(&'static str, usize),
}
