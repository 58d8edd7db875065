//! The state after events that are not stored, as a server that has them returns it.

use std::sync::Arc;

use plexus_protocol::id::EventId;
use plexus_rooms::model::event_lookup;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::state_at::{self, StateAt};
use plexus_rooms::model::state_map::{StateEntry, StateMap};
use plexus_rooms::write::{merge, outliers};
use plexus_store::repo::events::Verdict;
use plexus_store::repo::state_snapshots::SnapshotRef;
use plexus_store::{Database, DbError, EventNid};

use super::state_before::fetch_whole_state;
use super::{ReceiveError, RemoteSource};

/// How many events are read at a time.
const READ_AT_ONCE: usize = 1_000;

/// Fetches and stores the state after `events`: the state before each, with what the event itself changes. The states
/// of several events are resolved.
///
/// # Errors
/// [`ReceiveError::MissingEvents`] when the server does not return all of it.
pub(crate) async fn state_after(
    source: &RemoteSource<'_>,
    events: &[EventId],
) -> Result<Vec<Arc<StateEntry>>, ReceiveError> {
    let RemoteSource { receiver, room, .. } = *source;
    let writer = &receiver.writer;
    let mut branches = Vec::with_capacity(events.len());
    for event in events {
        let before = fetch_whole_state(source, event).await?;
        let changed = state_event(source, event).await?;
        let mut state = state_of(&receiver.db, room, &before).await?;
        let changes = state_of(&receiver.db, room, changed.as_slice()).await?;
        changes.iter().for_each(|entry| _ = state.insert(Arc::clone(entry)));
        // Nothing is stored under this number: it distinguishes the branches.
        let snapshot = SnapshotRef::extensible(writer.nids().take(1).await?);
        branches.push(StateAt { snapshot, state });
    }
    if branches.is_empty() {
        return Err(ReceiveError::MissingEvents);
    }
    Ok(merge::merge(writer, room, branches, None).await?.at.state.iter().map(Arc::clone).collect())
}

/// Returns the number of an event if it is a state event that is not rejected. It is fetched when it is not stored.
async fn state_event(source: &RemoteSource<'_>, event: &EventId) -> Result<Option<EventNid>, ReceiveError> {
    let RemoteSource { receiver, room, server, .. } = *source;
    let db = &receiver.db;
    let id = std::slice::from_ref(event);
    if event_lookup::known(db, id).await?.is_empty() {
        let raw = source.ask(receiver.peers.event(server, event)).await.map_err(|error| {
            tracing::info!(%event, room = %room.id, "{error}");
            ReceiveError::MissingEvents
        })?;
        let events = receiver.verifier.parse_and_verify(room, vec![raw]).await;
        outliers::store(&receiver.writer, room, events).await?;
    }
    let known = event_lookup::known(db, id).await?;
    let known = known.get(event).filter(|known| known.room_nid == room.nid).ok_or(ReceiveError::MissingEvents)?;
    Ok((known.is_state && known.verdict != Verdict::Rejected).then_some(known.event_nid))
}

async fn state_of(db: &Database, room: &Room, nids: &[EventNid]) -> Result<StateMap, DbError> {
    let mut state = StateMap::default();
    for nids in nids.chunks(READ_AT_ONCE) {
        let (version, nids) = (room.version, nids.to_vec());
        let entries = db.read(move |tx| state_at::entries(tx, version, &nids)).await?;
        entries.into_iter().for_each(|entry| _ = state.insert(entry));
    }
    Ok(state)
}
