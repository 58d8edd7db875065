//! [Rules](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules) 1 to 3: the checks that need no room state.

use super::{AuthRejection, create};
use crate::{
    event::{MAX_FIELD, Pdu, auth_types::auth_event_keys},
    id::EventId,
    rules::RoomVersionRules,
};

/// An event that another event names in `auth_events`.
#[derive(Debug, Clone)]
pub struct AuthEvent {
    /// The event.
    pub pdu: Pdu,
    /// Whether it was rejected when it was received.
    pub rejected: bool,
}

/// Checks what does not depend on a room state: sizes, and for the create event its content, for every other event its
/// auth events. `lookup` finds an event by id; in room version 12 and later it is also called for the create event.
///
/// # Errors
/// The rule that rejects the event.
pub fn check_state_independent(
    rules: &RoomVersionRules,
    event: &Pdu,
    lookup: &dyn Fn(&EventId) -> Option<AuthEvent>,
) -> Result<(), AuthRejection> {
    check_field_lengths(event)?;
    // 1. If type is `m.room.create`.
    if event.event_type() == "m.room.create" {
        return create::check(rules, event);
    }
    // 2. The room id names an accepted create event.
    if rules.create_event_is_room_id {
        let create = event.room_id().create_event_id().and_then(|id| lookup(&id));
        if !create.is_some_and(|create| !create.rejected && create.pdu.event_type() == "m.room.create") {
            return Err(AuthRejection::UnknownRoom);
        }
    }
    check_auth_events(rules, event, lookup)
}

/// Rejects an event with a field of more than 255 bytes.
///
/// Before room version 11 servers counted characters, so a field may have more than 255 bytes in up to 255 characters.
/// As in Synapse such an event can be stored and referred to but is rejected
/// ([Size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits)).
fn check_field_lengths(event: &Pdu) -> Result<(), AuthRejection> {
    let fields = [("type", Some(event.event_type())), ("state_key", event.state_key())];
    let long = fields.into_iter().find(|(_, text)| text.is_some_and(|text| text.len() > MAX_FIELD));
    long.map_or(Ok(()), |(field, _)| Err(AuthRejection::FieldTooLong(field)))
}

/// Rule 3, which depends on the
/// [auth events selection](https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection).
fn check_auth_events(
    rules: &RoomVersionRules,
    event: &Pdu,
    lookup: &dyn Fn(&EventId) -> Option<AuthEvent>,
) -> Result<(), AuthRejection> {
    let mut expected = auth_event_keys(rules, event.event_type(), event.sender(), event.state_key(), event.content());
    let mut seen: Vec<(String, String)> = Vec::with_capacity(expected.len());
    for id in event.auth_events() {
        let AuthEvent { pdu, rejected } = lookup(id).ok_or_else(|| AuthRejection::UnknownAuthEvent(id.clone()))?;
        let matches = |(event_type, state_key): &(String, String)| {
            event_type == pdu.event_type() && Some(state_key.as_str()) == pdu.state_key()
        };
        // 3.1. Duplicates.
        if seen.iter().any(matches) {
            return Err(AuthRejection::DuplicateAuthEvent(id.clone()));
        }
        // 3.2. Entries that the auth events selection does not choose.
        let at = expected.iter().position(matches);
        seen.push(expected.swap_remove(at.ok_or_else(|| AuthRejection::UnexpectedAuthEvent(id.clone()))?));
        // 3.3. Rejected entries.
        if rejected {
            return Err(AuthRejection::RejectedAuthEvent(id.clone()));
        }
        // 3.5. Entries of other rooms.
        if pdu.room_id() != event.room_id() {
            return Err(AuthRejection::AuthEventOfOtherRoom(id.clone()));
        }
    }
    // 3.4 of versions 1 to 11.
    if !rules.create_event_is_room_id && !seen.iter().any(|(event_type, _)| event_type == "m.room.create") {
        return Err(AuthRejection::AuthEventsWithoutCreate);
    }
    Ok(())
}
