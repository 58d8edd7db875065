//! Sticky events ([MSC4354](https://github.com/matrix-org/matrix-spec-proposals/pull/4354)): everybody in a room gets
//! them for a while, whatever else they have of the room.

use super::Pdu;
use crate::json::{Object, Value};

/// The member of an event that makes it sticky.
pub const MEMBER: &str = "msc4354_sticky";
/// The member of `unsigned` with the ms for which an event is still sticky.
pub const UNSIGNED_TTL: &str = "msc4354_sticky_duration_ttl_ms";
/// The longest time for which an event is sticky, in ms.
pub const MAX_DURATION_MS: u64 = 3_600_000;

/// Returns the value of [`MEMBER`] of an event that is sticky for this long.
pub fn member(duration_ms: u64) -> Object {
    Object::from([("duration_ms", duration_ms)])
}

/// Returns the duration, in ms, that an event names.
pub(super) fn duration_ms(event: &Object) -> Option<u64> {
    event.get_object(MEMBER)?.get("duration_ms").and_then(Value::as_u64)
}

/// Returns until when an event that was received at `received_ms` is sticky, in Unix ms; `None` if it never is.
pub fn expires_ts(pdu: &Pdu, received_ms: u64) -> Option<u64> {
    let duration_ms = pdu.sticky_duration_ms()?.min(MAX_DURATION_MS);
    Some(pdu.origin_server_ts().min(received_ms) + duration_ms)
}
