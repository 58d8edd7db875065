//! What is taken from a template that another server makes (`make_join` and its kin): where in the room's graph the
//! event goes, and who lets the user in. A server could name anything in it, and this server signs the event: all else
//! it says itself.

use plexus_protocol::event::{MAX_AUTH_EVENTS, MAX_PREV_EVENTS};
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::rules::{EventIdFormat, RoomVersion};
use plexus_rooms::actions::membership::restricted;
use plexus_rooms::model::room::Room;
use plexus_rooms::write::build::MAX_DEPTH;

use crate::peers::{EventTemplate, Handshake};

/// What a template was asked for.
pub(super) struct TemplateRequest<'a> {
    pub room_id: &'a RoomId,
    pub user: &'a UserId,
    pub handshake: Handshake,
    /// The server that made the template.
    pub server: &'a ServerName,
    /// This server.
    pub own: &'a ServerName,
    /// The room, when this server is in it.
    pub here: Option<&'a Room>,
}

/// What is used of a template.
#[derive(Debug)]
pub(super) struct CheckedTemplate {
    pub version: RoomVersion,
    pub prev_events: Vec<EventId>,
    pub auth_events: Vec<EventId>,
    pub depth: u64,
    /// A user of the server that made the template, who lets the user in (client-server API, "Restricted rooms").
    pub authoriser: Option<UserId>,
}

/// Checks a template.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(template: &EventTemplate, asked: &TemplateRequest<'_>) -> Result<CheckedTemplate, &'static str> {
    let EventTemplate { room_version: version, event } = template;
    let is = |name: &str, value: &str| event.get_str(name) == Some(value);
    let stated = event.get_object("content").and_then(|content| content.get_str("membership"));
    if !is("type", "m.room.member")
        || !is("state_key", asked.user.as_str())
        || !is("sender", asked.user.as_str())
        || event.get_str("room_id").is_some_and(|room| room != asked.room_id.as_str())
        || stated != Some(asked.handshake.as_str())
    {
        return Err("the template is not for what was asked");
    }
    if asked.here.is_some_and(|room| room.version != *version) {
        return Err("the template is of another room version");
    }
    let prev_events = references(event, "prev_events", MAX_PREV_EVENTS, *version)?;
    if prev_events.is_empty() {
        return Err("the template follows no event");
    }
    Ok(CheckedTemplate {
        version: *version,
        prev_events,
        auth_events: references(event, "auth_events", MAX_AUTH_EVENTS, *version)?,
        depth: event.get("depth").and_then(Value::as_u64).ok_or("the template has no depth")?.min(MAX_DEPTH),
        authoriser: authoriser(event, *version, asked)?,
    })
}

/// Events that a template refers to, as the room version writes references; each once.
fn references(event: &Object, name: &str, most: usize, version: RoomVersion) -> Result<Vec<EventId>, &'static str> {
    let entries = event.get_array(name).ok_or("prev_events and auth_events must be lists")?;
    if entries.len() > most {
        return Err("the template refers to too many events");
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
        let id = id.ok_or("the template refers to something that is no event id of its room version")?;
        if ids.contains(&id) {
            return Err("the template refers to an event twice");
        }
        ids.push(id);
    }
    Ok(ids)
}

/// Returns the user that authorizes a restricted join
/// (<https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms>). It must be a user of the server that made the
/// template, which has to sign the join too, and is never one of this server, which decides and signs by itself.
fn authoriser(
    event: &Object,
    version: RoomVersion,
    asked: &TemplateRequest<'_>,
) -> Result<Option<UserId>, &'static str> {
    if asked.handshake != Handshake::Join || !version.rules().auth.restricted_joins {
        return Ok(None);
    }
    // Where members are missing from the room's state, nothing is known of the authoriser, nor whether one is needed.
    let here = asked.here.map(Room::view).filter(|view| !view.is_partial());
    let named = event.get_object("content").and_then(|content| content.get("join_authorised_via_users_server"));
    let Some(named) = named else {
        // Where this server is in the room it asks others for nothing else.
        return if here.is_some() { Err("the template names nobody who lets the user in") } else { Ok(None) };
    };
    let named = named.as_str().and_then(|user| UserId::try_from(user).ok()).ok_or("the authoriser is no user id")?;
    if named.server_name() != asked.server.as_str() || named.server_name() == asked.own.as_str() {
        return Err("the template names a user of another server as authoriser");
    }
    if here.is_some_and(|view| !restricted::is_authoriser(&view, &named)) {
        return Err("the template names an authoriser who has not the power to let others in");
    }
    Ok(Some(named))
}
