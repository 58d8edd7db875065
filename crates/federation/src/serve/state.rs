//! Serves states and auth chains.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_rooms::model::heroes;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::room_view::RoomView;
use plexus_rooms::model::rooms::Rooms;
use plexus_rooms::read::stripped::{MAX_STRIPPED_EVENTS, MAX_STRIPPED_STATE_BYTES};
use plexus_rooms::write::outliers;
use plexus_store::repo::event_graph;
use plexus_store::repo::interned::{find_state_keys, find_type};
use plexus_store::repo::state_snapshots::{self, Key};
use plexus_store::{DbError, EventNid, event_key};

use super::ServeError;
use super::admission::room_for_member;
use super::events::by_ids;
use crate::peers::StateIds;

/// How long a request for state waits while the room is partially joined.
const PARTIAL_STATE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many event ids are read at a time.
const BATCH_SIZE: usize = 2_000;

/// The state before an event, as event numbers. The events are read with [`super::pdus`], part by part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateBefore {
    /// The state events.
    pub state: Vec<EventNid>,
    /// The events of their auth chains.
    pub auth_chain: Vec<EventNid>,
}

/// `GET /state/{roomId}`: returns the room, and its state before an event.
pub async fn state_before(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
    event: &EventId,
) -> Result<(Arc<Room>, StateBefore), ServeError> {
    let room = room_for_member(rooms, origin, room).await?;
    // A short wait is usually enough, and saves the other server a retry.
    if !rooms.full_state_within(&room, PARTIAL_STATE_TIMEOUT).await || room.view().is_partial() {
        return Err(ServeError::UnknownEvent);
    }
    let state: Vec<EventNid> = before(&room, event).await?.into_values().collect();
    let auth_chain = chain_of(&room, &state).await?;
    Ok((room, StateBefore { state, auth_chain }))
}

/// `GET /state_ids/{roomId}`
pub async fn state_ids_before(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
    event: &EventId,
) -> Result<StateIds, ServeError> {
    let (room, StateBefore { state, auth_chain }) = state_before(rooms, origin, room, event).await?;
    Ok(StateIds { state: ids(&room, &state).await?, auth_chain: ids(&room, &auth_chain).await? })
}

/// `GET /event_auth/{roomId}/{eventId}`: returns the room, and the auth chain of an event.
pub async fn auth_chain(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
    event: &EventId,
) -> Result<(Arc<Room>, Vec<EventNid>), ServeError> {
    let room = room_for_member(rooms, origin, room).await?;
    let (wanted, of_room) = (vec![event.clone()], (room.nid, room.version));
    let found = rooms.db.read(move |tx| Ok::<_, DbError>(by_ids(tx, of_room, &wanted)?.pop())).await?;
    let event = found.filter(|event| !event.is_rejected()).ok_or(ServeError::UnknownEvent)?;
    let chain = chain_of_new(&room, &event.pdu, &[]).await?;
    Ok((room, chain))
}

/// Returns the state before a join, and the auth chain of both. With `omit_members`, the state has only the member
/// events of the joined user and of the room's heroes if it has no name, and the auth chain has no events of the state.
pub async fn joined_state(room: &Room, join: &Pdu, omit_members: bool) -> Result<StateBefore, ServeError> {
    let mut state = before(room, join.event_id()).await?;
    if omit_members {
        let named = named_members(&room.view(), join.sender());
        let (member, named) = room
            .db
            .read(move |tx| Ok::<_, DbError>((find_type(tx, "m.room.member")?, find_state_keys(tx, &named)?)))
            .await?;
        state.retain(|(event_type, state_key), _| Some(*event_type) != member || named.contains(state_key));
    }
    let state: Vec<EventNid> = state.into_values().collect();
    let mut auth_chain = chain_of_new(room, join, &state).await?;
    if omit_members {
        let in_state: HashSet<EventNid> = state.iter().copied().collect();
        auth_chain.retain(|event| !in_state.contains(event));
    }
    Ok(StateBefore { state, auth_chain })
}

/// Returns the stripped state of the room as whole events (`PUT /send_knock`, `PUT /invite`), with the member event of
/// `sender`. It is no larger than this server would accept.
pub async fn stripped_state_events(
    rooms: &Rooms,
    room: &Room,
    sender: Option<&UserId>,
) -> Result<Vec<String>, DbError> {
    let view = room.view();
    let mut seen = HashSet::new();
    let nids = rooms.stripped_state_entries(&view, sender).into_iter().map(|entry| entry.nid);
    let nids: Vec<EventNid> = nids.filter(|nid| seen.insert(*nid)).take(MAX_STRIPPED_EVENTS).collect();
    let mut bytes = 0;
    let mut events = super::events::readable_pdus(room, &nids).await?;
    events.retain(|event| {
        bytes += event.len();
        bytes <= MAX_STRIPPED_STATE_BYTES
    });
    Ok(events)
}

/// Returns the state keys of the joining user and, if the room has no name, of its heroes.
fn named_members(view: &RoomView, joined: &UserId) -> Vec<Vec<u8>> {
    let mut named = vec![joined.clone()];
    if view.event_nid("m.room.name", "").is_none() && view.event_nid("m.room.canonical_alias", "").is_none() {
        named.extend(heroes::heroes(&view.state, joined));
    }
    named.into_iter().map(|user| user.as_str().as_bytes().to_vec()).collect()
}

/// Returns the state before an event that is in the room's graph.
async fn before(room: &Room, event: &EventId) -> Result<BTreeMap<Key, EventNid>, ServeError> {
    let (wanted, of_room) = ([event.clone()], (room.nid, room.version));
    let state = room.db.read(move |tx| {
        let found = by_ids(tx, of_room, &wanted)?.pop();
        let found = found.filter(|event| !event.is_rejected());
        match found.and_then(|event| event.row.known.snapshot_nid) {
            Some(snapshot) => Ok::<_, DbError>(Some(state_snapshots::read(tx, snapshot)?)),
            None => Ok(None),
        }
    });
    state.await?.ok_or(ServeError::UnknownEvent)
}

/// Returns the auth chain of state events.
async fn chain_of(room: &Room, events: &[EventNid]) -> Result<Vec<EventNid>, DbError> {
    let mut index = room.auth.lock().await;
    index.include(&room.db, (room.nid, room.version), events.iter().copied()).await?;
    room.auth_bytes.store(index.weight(), Ordering::Relaxed);
    let mut nodes: Vec<_> = events.iter().filter_map(|event| index.node(*event)).collect();
    let mut chain = index.graph().auth_chain(&nodes);
    // From version 12 on, the room id implies the create event as an auth event.
    if room.version.rules().create_event_is_room_id {
        nodes.clear();
        nodes.extend(index.graph().create());
        chain.splice(0..0, nodes);
    }
    Ok(chain.into_iter().filter_map(|node| index.nid(node)).collect())
}

/// Returns the auth chain of an event, which need not be a state event, and of state events.
async fn chain_of_new(room: &Room, event: &Pdu, state: &[EventNid]) -> Result<Vec<EventNid>, DbError> {
    let named: Vec<EventId> = event.auth_events().iter().cloned().chain(outliers::create_event_of(event)).collect();
    let of_room = (room.nid, room.version);
    let named = room.db.read(move |tx| by_ids(tx, of_room, &named)).await?;
    let named: Vec<EventNid> = named.into_iter().map(|event| event.row.known.event_nid).collect();
    let all: Vec<EventNid> = named.iter().chain(state).copied().collect();
    let mut chain = chain_of(room, &all).await?;
    let known: HashSet<EventNid> = chain.iter().copied().collect();
    chain.extend(named.into_iter().filter(|event| !known.contains(event)));
    Ok(chain)
}

/// Returns the ids of events, in no particular order.
async fn ids(room: &Room, nids: &[EventNid]) -> Result<Vec<EventId>, DbError> {
    let mut ids = Vec::with_capacity(nids.len());
    for part in nids.chunks(BATCH_SIZE) {
        let part = part.to_vec();
        for key in room.db.read(move |tx| event_graph::ids(tx, &part)).await? {
            let id = event_key::decode(&key, room.version);
            ids.push(id.map_err(|error| DbError::bad_data(format!("events of room {}", room.nid), error))?);
        }
    }
    Ok(ids)
}
