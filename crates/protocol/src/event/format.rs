//! Limits of the event format ([Size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits),
//! [Event format](https://spec.matrix.org/v1.19/rooms/v12/#event-format-1)).

use crate::{
    id::IdError,
    json::{NotCanonical, ParseError},
};

/// The largest event, in bytes of canonical JSON with signatures.
pub const MAX_PDU: usize = 65_536;
/// The longest `type`, `state_key`, `sender`, `room_id` and `event_id`, in bytes. In room versions 1 to 10 a received
/// `type` or `state_key` may have that many characters instead; the event then parses, but
/// [`check_state_independent`](crate::auth::check_state_independent) rejects it. Identifiers are limited in bytes in
/// every version.
pub const MAX_FIELD: usize = 255;
/// The most `prev_events` of an event.
pub const MAX_PREV_EVENTS: usize = 20;
/// The most `auth_events` of an event.
pub const MAX_AUTH_EVENTS: usize = 10;

/// Why JSON is not an event of its room version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// The text is not JSON.
    #[error(transparent)]
    Json(#[from] ParseError),
    /// A number has no canonical form.
    #[error("event is not canonical JSON: {0}")]
    NotCanonical(#[from] NotCanonical),
    /// The event has this many bytes of canonical JSON, more than [`MAX_PDU`].
    #[error("event has {0} bytes, more than {MAX_PDU}")]
    TooLarge(usize),
    /// A required member is missing.
    #[error("event has no {0}")]
    Missing(&'static str),
    /// A member has the wrong type or is out of range.
    #[error("{0} of the event has the wrong type or is out of range")]
    WrongType(&'static str),
    /// A member is longer than [`MAX_FIELD`].
    #[error("{0} of the event is longer than {MAX_FIELD}")]
    FieldTooLong(&'static str),
    /// A member is not a valid identifier.
    #[error("{0} of the event {1}")]
    InvalidId(&'static str, IdError),
    /// The room id does not have the form of its room version.
    #[error("room_id of the event does not fit its room version")]
    RoomIdFormat,
    /// The event id does not have the form of its room version.
    #[error("event_id of the event does not fit its room version")]
    EventIdFormat,
    /// `prev_events` or `auth_events` has this many entries, more than allowed.
    #[error("event has too many {0}: {1}")]
    TooManyReferences(&'static str, usize),
}
