//! Checks of the content that users of this server may send, beyond a room's authorization rules. They do not apply to
//! events of other servers, on which all servers of a room have to agree.

use plexus_protocol::acl::ServerAcl;
use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::power_levels::LevelField;

use crate::write::draft::Draft;

/// The content of an event is not valid.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A field has the wrong type, or is a number out of range.
    #[error("{field:?} must be {expected}")]
    WrongType {
        /// The field, or the key of a map.
        field: String,
        /// The valid type.
        expected: &'static str,
    },
    /// `alias` or `alt_aliases` of `m.room.canonical_alias` has the wrong type.
    #[error("{0:?} must be {1}")]
    AliasType(&'static str, &'static str),
    /// A string that events of this type must have is missing.
    #[error("{0:?} is missing from the content, or is not a string")]
    MissingText(&'static str),
    /// Events of this type are state events.
    #[error("Events of type {0} are state events: send it with a state key")]
    NotState(&'static str),
    /// A room has one create event.
    #[error("A room has one m.room.create event, which cannot be sent again")]
    CreateAgain,
    /// The access control list excludes this server.
    #[error("This server ACL would exclude this server, {0}, and no user of it could change it any more")]
    AclDeniesSelf(ServerName),
    /// `replacement_room` is missing.
    #[error("The tombstone does not name the room that replaces this one: \"replacement_room\" is missing")]
    NoReplacementRoom,
    /// `replacement_room` is the room itself.
    #[error("The tombstone names the room itself as its replacement")]
    ReplacedByItself,
    /// `min_lifetime` is greater than `max_lifetime`.
    #[error("\"min_lifetime\" must not be greater than \"max_lifetime\"")]
    LifetimesReversed,
}

/// Checks an event that `server` is about to send into `room`. `first`: whether it is the first event of the room.
pub(crate) fn check(
    server: &ServerName,
    room: Option<&RoomId>,
    first: bool,
    draft: &Draft,
) -> Result<(), ContentError> {
    let content = &draft.content;
    match &*draft.event_type {
        "m.room.create" if !first => return Err(ContentError::CreateAgain),
        "m.room.power_levels" => power_levels(content)?,
        "m.room.server_acl" => server_acl(server, content)?,
        "m.room.canonical_alias" if draft.state_key.as_deref() == Some("") => canonical_alias(content)?,
        "m.room.tombstone" => tombstone(room, draft)?,
        "m.room.name" => text_of_state("m.room.name", "name", draft)?,
        "m.room.topic" => text_of_state("m.room.topic", "topic", draft)?,
        "m.room.retention" => retention(draft)?,
        "m.room.message" => text(content, "body").and_then(|()| text(content, "msgtype"))?,
        _ => {}
    }
    content.get("m.mentions").map_or(Ok(()), mentions)
}

fn wrong_type(field: &str, expected: &'static str) -> ContentError {
    ContentError::WrongType { field: field.to_owned(), expected }
}

/// Checks that all levels are integers. Up to room version 9 the authorization rules also accept strings and fractions
/// (<https://spec.matrix.org/v1.19/rooms/v10/#values-in-mroompower_levels-events-must-be-integers>), which clients may
/// not understand.
fn power_levels(content: &Object) -> Result<(), ContentError> {
    const LEVEL: &str = "an integer";
    let level = |field: &str, value: &Value| match value {
        Value::Number(number) if number.is_canonical() => Ok(()),
        _ => Err(wrong_type(field, LEVEL)),
    };
    for field in LevelField::ALL.map(LevelField::as_str) {
        content.get(field).map_or(Ok(()), |value| level(field, value))?;
    }
    for field in ["events", "notifications", "users"] {
        let Some(value) = content.get(field) else { continue };
        let levels = value.as_object().ok_or_else(|| wrong_type(field, "an object of integers"))?;
        levels.iter().try_for_each(|(key, value)| level(key, value))?;
    }
    Ok(())
}

fn server_acl(server: &ServerName, content: &Object) -> Result<(), ContentError> {
    if ServerAcl::from_content(content).allows(server) {
        return Ok(());
    }
    Err(ContentError::AclDeniesSelf(server.clone()))
}

/// Checks the types. The rooms of the aliases are checked in `actions::send`.
fn canonical_alias(content: &Object) -> Result<(), ContentError> {
    if content.get("alias").is_some_and(|alias| !alias.is_null() && alias.as_str().is_none()) {
        return Err(ContentError::AliasType("alias", "a string"));
    }
    let Some(alternatives) = content.get("alt_aliases") else { return Ok(()) };
    match alternatives.as_array() {
        Some(aliases) if aliases.iter().all(|alias| alias.as_str().is_some()) => Ok(()),
        _ => Err(ContentError::AliasType("alt_aliases", "a list of strings")),
    }
}

fn tombstone(room: Option<&RoomId>, draft: &Draft) -> Result<(), ContentError> {
    let replacement = draft.content.get("replacement_room").ok_or(ContentError::NoReplacementRoom)?;
    if room.is_some_and(|room| replacement.as_str() == Some(room.as_str())) {
        return Err(ContentError::ReplacedByItself);
    }
    state_event("m.room.tombstone", draft)
}

fn text_of_state(event_type: &'static str, field: &'static str, draft: &Draft) -> Result<(), ContentError> {
    text(&draft.content, field)?;
    state_event(event_type, draft)
}

fn text(content: &Object, field: &'static str) -> Result<(), ContentError> {
    content.get_str(field).map(|_| ()).ok_or(ContentError::MissingText(field))
}

fn state_event(event_type: &'static str, draft: &Draft) -> Result<(), ContentError> {
    draft.state_key.as_ref().map(|_| ()).ok_or(ContentError::NotState(event_type))
}

/// Checks `m.room.retention` (MSC1763).
fn retention(draft: &Draft) -> Result<(), ContentError> {
    state_event("m.room.retention", draft)?;
    let lifetime = |field: &str| match draft.content.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| wrong_type(field, "an integer")),
    };
    match (lifetime("min_lifetime")?, lifetime("max_lifetime")?) {
        (Some(min), Some(max)) if min > max => Err(ContentError::LifetimesReversed),
        _ => Ok(()),
    }
}

/// Checks `m.mentions` (<https://spec.matrix.org/v1.19/client-server-api/#user-and-room-mentions>).
fn mentions(mentions: &Value) -> Result<(), ContentError> {
    let mentions = mentions.as_object().ok_or_else(|| wrong_type("m.mentions", "an object"))?;
    if mentions.get("room").is_some_and(|room| room.as_bool().is_none()) {
        return Err(wrong_type("room", "a boolean"));
    }
    let Some(users) = mentions.get("user_ids") else { return Ok(()) };
    match users.as_array() {
        Some(users) if users.iter().all(|user| user.as_str().is_some()) => Ok(()),
        _ => Err(wrong_type("user_ids", "a list of strings")),
    }
}
