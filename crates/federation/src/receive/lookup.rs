//! Looks up which events of a room are stored, and which are in its graph.

use std::collections::HashSet;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_rooms::model::event_lookup;
use plexus_rooms::write::outliers;
use plexus_store::{Database, DbError, RoomNid};

/// Returns the events that have no place in the graph. A rejected event can have one.
pub(super) async fn without_place(db: &Database, room: RoomNid, pdus: Vec<Pdu>) -> Result<Vec<Pdu>, DbError> {
    let known = event_lookup::known(db, &ids_of(&pdus)).await?;
    let placed = |pdu: &Pdu| known.get(pdu.event_id()).is_some_and(|known| known.has_place(room));
    Ok(pdus.into_iter().filter(|pdu| !placed(pdu)).collect())
}

/// Returns the events that are in the graph, whether or not they have a place in the timeline.
pub(super) async fn in_graph(db: &Database, room: RoomNid, pdus: &[Pdu]) -> Result<HashSet<EventId>, DbError> {
    let known = event_lookup::known(db, &ids_of(pdus)).await?;
    Ok(known.into_iter().filter(|(_, known)| known.is_in_graph(room)).map(|(id, _)| id).collect())
}

/// Returns the prev events of `pdus` that are neither among them nor have a place in the graph.
pub(super) async fn unknown_prev_events(
    db: &Database,
    room: RoomNid,
    pdus: &[Pdu],
) -> Result<HashSet<EventId>, DbError> {
    let among: HashSet<&EventId> = pdus.iter().map(Pdu::event_id).collect();
    let prev_events: HashSet<EventId> =
        pdus.iter().flat_map(Pdu::prev_events).filter(|id| !among.contains(id)).cloned().collect();
    let prev_events = sorted(prev_events);
    let known = event_lookup::known(db, &prev_events).await?;
    Ok(prev_events.into_iter().filter(|id| !known.get(id).is_some_and(|known| known.has_place(room))).collect())
}

/// Returns the auth events of `pdus` that are neither in `among` nor stored.
pub(super) async fn unknown_auth_events(
    db: &Database,
    pdus: &[Pdu],
    among: &HashSet<EventId>,
) -> Result<Vec<EventId>, DbError> {
    let auth_events =
        pdus.iter().flat_map(|pdu| pdu.auth_events().iter().cloned().chain(outliers::create_event_of(pdu)));
    let auth_events = sorted(auth_events.filter(|id| !among.contains(id)).collect());
    let known = event_lookup::known(db, &auth_events).await?;
    Ok(auth_events.into_iter().filter(|id| !known.contains_key(id)).collect())
}

fn ids_of(pdus: &[Pdu]) -> Vec<EventId> {
    pdus.iter().map(|pdu| pdu.event_id().clone()).collect()
}

fn sorted(ids: HashSet<EventId>) -> Vec<EventId> {
    let mut ids: Vec<EventId> = ids.into_iter().collect();
    ids.sort_unstable();
    ids
}
