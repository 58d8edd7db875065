//! Checks of events that local users send, beyond the room's authorization rules.

use std::time::Duration;

use futures_util::future::try_join_all;
use plexus_protocol::auth::AuthRejection;
use plexus_protocol::event::relation::relates_to;
use plexus_protocol::id::{EventId, RoomAlias, ServerName};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::membership::Membership;
use plexus_store::{DbError, event_key, repo};

use super::NewEvent;
use crate::model::room::Room;
use crate::model::rooms::Rooms;
use crate::model::{event_lookup, stored_events};
use crate::write::error::SendError;
use crate::write::peer_error::PeerError;
use crate::write::writer::RoomWriter;

/// The maximum length of an annotation's key, in characters, as in Synapse.
const MAX_ANNOTATION_KEY_CHARS: usize = 500;

/// The maximum number of aliases of other servers that are looked up for an event, all at the same time.
const MAX_REMOTE_ALIASES: usize = 5;
/// The timeout of these lookups, for which the sender waits.
const ALIAS_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of a user's annotations of an event that a new one is compared with.
const MAX_COMPARED_ANNOTATIONS: usize = 500;

const UNKNOWN_TARGET: &str = "Can't send relation to unknown event";

/// Checks that the aliases that an `m.room.canonical_alias` event adds point to the room
/// (<https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias>). Other servers are asked about their
/// aliases if the user may send the event.
pub(super) async fn canonical_alias(writer: &RoomWriter, room: &Room, event: &NewEvent) -> Result<(), SendError> {
    let view = room.view();
    let before = view.event_in_memory("m.room.canonical_alias", "").map(|pdu| aliases_of(pdu.content()));
    let before = before.unwrap_or_default();
    let mut remote = Vec::new();
    for alias in aliases_of(&event.content).into_iter().filter(|alias| !before.contains(alias)) {
        let valid = RoomAlias::try_from(alias.as_str()).map_err(|_| SendError::InvalidAlias(alias.clone()))?;
        if valid.server_name() != writer.server_name.as_str() {
            remote.push(valid);
            continue;
        }
        let found = writer.db.read(move |tx| repo::aliases::get(tx, valid.as_str())).await?;
        if found.is_none_or(|found| found.room_nid != room.nid) {
            return Err(SendError::AliasNotOfRoom(alias));
        }
    }
    if remote.len() > MAX_REMOTE_ALIASES {
        return Err(SendError::TooManyAliases(MAX_REMOTE_ALIASES));
    }
    if remote.is_empty() {
        return Ok(());
    }
    let (has, needs) = (view.power_levels.user(&event.sender), view.power_levels.event(&event.event_type, true));
    if view.state.membership(event.sender.as_str()) != Some(Membership::Join) || has < needs {
        return Err(SendError::Forbidden(AuthRejection::InsufficientPower { has, needs }));
    }
    try_join_all(remote.iter().map(|alias| remote_alias(writer, room, alias))).await?;
    Ok(())
}

/// Checks with the server of an alias that it points to the room.
#[expect(clippy::disallowed_methods, reason = "bounds the wait for other machines")]
async fn remote_alias(writer: &RoomWriter, room: &Room, alias: &RoomAlias) -> Result<(), SendError> {
    let not_of_room = || SendError::AliasNotOfRoom(alias.to_string());
    let (Some(aliases), Ok(server)) = (&writer.remote_aliases, ServerName::try_from(alias.server_name())) else {
        return Err(not_of_room());
    };
    let asked = tokio::time::timeout(ALIAS_TIMEOUT, aliases.room_of_alias(&server, alias)).await;
    match asked.unwrap_or_else(|_| Err(PeerError::timeout(&server))) {
        Ok(room_id) if room_id == room.id => Ok(()),
        Ok(_) => Err(not_of_room()),
        Err(error) if error.status() == Some(404) => Err(not_of_room()),
        Err(error) => Err(SendError::AliasUnresolved { alias: alias.to_string(), error: Box::new(error) }),
    }
}

/// Returns the aliases in the content of an `m.room.canonical_alias` event.
pub(crate) fn aliases_of(content: &Object) -> Vec<String> {
    let alias = content.get_str("alias").filter(|alias| !alias.is_empty());
    let alternatives = content.get_array("alt_aliases").unwrap_or_default();
    alias.into_iter().chain(alternatives.iter().filter_map(Value::as_str)).map(str::to_owned).collect()
}

/// Checks `m.relates_to`: the target must be an event of the room, an annotation must not be repeated, and a thread
/// must not start within a thread.
pub(super) async fn relation(rooms: &Rooms, room: &Room, event: &NewEvent) -> Result<(), SendError> {
    let Some(relation) = event.content.get_object("m.relates_to") else { return Ok(()) };
    let (Some(rel_type), Some(target)) = (relation.get_str("rel_type"), relation.get_str("event_id")) else {
        return Ok(());
    };
    let target: EventId = target.parse().map_err(|_| SendError::BadRelation(UNKNOWN_TARGET))?;
    let known = event_lookup::event_of_room(room, &target).await?;
    if known.is_none() {
        target_is_plausible(rooms, room, &target).await?;
    }
    match (rel_type, known) {
        ("m.annotation", _) => annotation(rooms, room, event, &target).await,
        ("m.thread", Some(root)) if relates_to(root.pdu.content()).is_some() => {
            Err(SendError::BadRelation("Cannot start threads from an event with a relation"))
        }
        _ => Ok(()),
    }
}

/// Checks the target of a relation that is not stored: it is accepted if stored events of the room relate to it, as
/// clients may know it from them. An event of another room is not accepted.
async fn target_is_plausible(rooms: &Rooms, room: &Room, target: &EventId) -> Result<(), SendError> {
    let (key, nid) = (event_key::encode(target), room.nid);
    let refused = rooms
        .db
        .read(move |tx| {
            if repo::events::find(tx, &key)?.is_some() {
                return Ok(Some("Relations must be in the same room"));
            }
            let is_target = repo::relations::is_target(tx, nid, &key)?;
            Ok::<_, DbError>((!is_target).then_some(UNKNOWN_TARGET))
        })
        .await?;
    refused.map_or(Ok(()), |problem| Err(SendError::BadRelation(problem)))
}

async fn annotation(rooms: &Rooms, room: &Room, event: &NewEvent, target: &EventId) -> Result<(), SendError> {
    let key = |content: &Object| Some(content.get_object("m.relates_to")?.get_str("key")?.to_owned());
    let new_key = key(&event.content).ok_or(SendError::BadRelation("Missing aggregation key"))?;
    if new_key.chars().count() > MAX_ANNOTATION_KEY_CHARS {
        return Err(SendError::BadRelation("Aggregation key is too long"));
    }
    let (stored, nid, version) = (event_key::encode(target), room.nid, room.version);
    let (sender, event_type) = (event.sender.clone(), event.event_type.clone());
    let duplicate = rooms
        .db
        .read(move |tx| {
            let limit = MAX_COMPARED_ANNOTATIONS;
            let own = repo::relations::newest_of_sender(tx, nid, &stored, sender.as_str(), b"m.annotation", limit)?;
            let own = own.into_iter().filter(|other| other.event_type == event_type.as_bytes());
            let same: Vec<_> = own.map(|other| other.event_nid).collect();
            let others = stored_events::by_nids(tx, version, &same)?;
            Ok::<_, DbError>(others.iter().any(|other| key(other.pdu.content()).as_ref() == Some(&new_key)))
        })
        .await?;
    if duplicate { Err(SendError::DuplicateAnnotation) } else { Ok(()) }
}
