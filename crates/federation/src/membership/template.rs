//! Checks the templates of `make_join`, `make_knock` and `make_leave`. Only the event's place in the room's graph and
//! the authorizing user are used. This server signs the event, so it determines everything else.

use plexus_protocol::event::{MAX_AUTH_EVENTS, MAX_PREV_EVENTS};
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::rules::{EventIdFormat, RoomVersion};
use plexus_rooms::actions::membership::restricted;
use plexus_rooms::model::room::Room;
use plexus_rooms::write::build::MAX_DEPTH;

use crate::peers::{EventTemplate, Handshake};

/// The request for a template.
pub(super) struct TemplateRequest<'a> {
    pub room_id: &'a RoomId,
    pub user: &'a UserId,
    pub handshake: Handshake,
    /// The server that made the template.
    pub server: &'a ServerName,
    /// This server.
    pub own: &'a ServerName,
    /// The room, if this server is in it.
    pub joined_room: Option<&'a Room>,
}

/// The parts of a template that are used.
#[derive(Debug)]
pub(super) struct CheckedTemplate {
    pub version: RoomVersion,
    pub prev_events: Vec<EventId>,
    pub auth_events: Vec<EventId>,
    pub depth: u64,
    /// The user of the server that made the template who authorizes a restricted join.
    pub authoriser: Option<UserId>,
}

/// Why a template is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("the template is not for the requested change")]
    OtherChange,
    #[error("the template has another room version")]
    OtherVersion,
    #[error("the template has no prev_events")]
    NoPrevEvents,
    #[error("the template has no depth")]
    NoDepth,
    #[error("prev_events and auth_events must be lists")]
    NotLists,
    #[error("the template refers to too many events")]
    TooManyEvents,
    #[error("the template refers to an invalid event id")]
    InvalidEventId,
    #[error("the template refers to an event twice")]
    RepeatedEvent,
    #[error("the template names no authoriser")]
    NoAuthoriser,
    #[error("the authoriser is not a user id")]
    InvalidAuthoriser,
    #[error("the template names an authoriser on another server")]
    OtherServersAuthoriser,
    #[error("the template names an authoriser without the power to invite")]
    PowerlessAuthoriser,
}

/// Checks a template.
///
/// # Errors
/// See [`TemplateError`].
pub(super) fn check(template: &EventTemplate, request: &TemplateRequest<'_>) -> Result<CheckedTemplate, TemplateError> {
    let EventTemplate { room_version: version, event } = template;
    let is = |name: &str, value: &str| event.get_str(name) == Some(value);
    let stated = event.get_object("content").and_then(|content| content.get_str("membership"));
    if !is("type", "m.room.member")
        || !is("state_key", request.user.as_str())
        || !is("sender", request.user.as_str())
        || event.get_str("room_id").is_some_and(|room| room != request.room_id.as_str())
        || stated != Some(request.handshake.as_str())
    {
        return Err(TemplateError::OtherChange);
    }
    if request.joined_room.is_some_and(|room| room.version != *version) {
        return Err(TemplateError::OtherVersion);
    }
    let prev_events = references(event, "prev_events", MAX_PREV_EVENTS, *version)?;
    if prev_events.is_empty() {
        return Err(TemplateError::NoPrevEvents);
    }
    Ok(CheckedTemplate {
        version: *version,
        prev_events,
        auth_events: references(event, "auth_events", MAX_AUTH_EVENTS, *version)?,
        depth: event.get("depth").and_then(Value::as_u64).ok_or(TemplateError::NoDepth)?.min(MAX_DEPTH),
        authoriser: authoriser(event, *version, request)?,
    })
}

/// Returns the events that a template refers to, in the format of the room version.
fn references(event: &Object, name: &str, most: usize, version: RoomVersion) -> Result<Vec<EventId>, TemplateError> {
    let entries = event.get_array(name).ok_or(TemplateError::NotLists)?;
    if entries.len() > most {
        return Err(TemplateError::TooManyEvents);
    }
    let named_by_server = version.rules().event_id_format == EventIdFormat::Server;
    let mut ids: Vec<EventId> = Vec::with_capacity(entries.len());
    for entry in entries {
        let id = match (named_by_server, entry) {
            (true, Value::Array(pair)) => pair.first().and_then(Value::as_str),
            (false, Value::String(id)) => Some(id.as_str()),
            _ => None,
        };
        let id =
            id.and_then(|id| EventId::try_from(id).ok()).filter(|id| id.server_name().is_some() == named_by_server);
        let id = id.ok_or(TemplateError::InvalidEventId)?;
        if ids.contains(&id) {
            return Err(TemplateError::RepeatedEvent);
        }
        ids.push(id);
    }
    Ok(ids)
}

/// Returns the user that authorizes a restricted join
/// (<https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms>): a user of the server that made the template,
/// which must sign the join too, and never a user of this server, which authorizes joins without asking others.
fn authoriser(
    event: &Object,
    version: RoomVersion,
    request: &TemplateRequest<'_>,
) -> Result<Option<UserId>, TemplateError> {
    if request.handshake != Handshake::Join || !version.rules().auth.restricted_joins {
        return Ok(None);
    }
    // With partial state it is unknown who is in the room, and whether an authoriser is needed.
    let view = request.joined_room.map(Room::view).filter(|view| !view.is_partial());
    let named = event.get_object("content").and_then(|content| content.get("join_authorised_via_users_server"));
    let Some(named) = named else {
        // A server that is in the room only asks others because the join needs an authoriser.
        return if view.is_some() { Err(TemplateError::NoAuthoriser) } else { Ok(None) };
    };
    let named = named.as_str().and_then(|user| UserId::try_from(user).ok()).ok_or(TemplateError::InvalidAuthoriser)?;
    if named.server_name() != request.server.as_str() || named.server_name() == request.own.as_str() {
        return Err(TemplateError::OtherServersAuthoriser);
    }
    if view.is_some_and(|view| !restricted::is_authoriser(&view, &named)) {
        return Err(TemplateError::PowerlessAuthoriser);
    }
    Ok(Some(named))
}
