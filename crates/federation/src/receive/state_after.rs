//! The state behind events that are not here, as a server that has them tells it.

use std::sync::Arc;

use plexus_protocol::id::{EventId, ServerName};
use plexus_rooms::model::event_lookup;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::state_at::{self, StateAt};
use plexus_rooms::model::state_map::{StateEntry, StateMap};
use plexus_rooms::write::{merge, outliers};
use plexus_store::repo::events::Verdict;
use plexus_store::repo::state_snapshots::SnapshotRef;
use plexus_store::{DbError, EventNid};

use super::{Deadline, PduReceiver, ReceiveError};

/// How many events are read at a time.
const READ_AT_ONCE: usize = 1_000;

impl PduReceiver {
    /// Returns the state behind `events`: that before each with what the event itself changes, and resolved where there
    /// are several. All of it is stored.
    ///
    /// # Errors
    /// [`ReceiveError::MissingEvents`] when the server does not tell all of it.
    pub(crate) async fn state_after(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        events: &[EventId],
        deadline: &Deadline,
    ) -> Result<Vec<Arc<StateEntry>>, ReceiveError> {
        let mut branches = Vec::with_capacity(events.len());
        for event in events {
            let before = self.whole_told_state(server, room, event, deadline).await?;
            let changed = self.state_event(server, room, event, deadline).await?;
            let mut state = self.state_of(room, &before).await?;
            self.state_of(room, changed.as_slice()).await?.iter().for_each(|entry| _ = state.insert(Arc::clone(entry)));
            // Nothing is stored under this number: it tells the branches apart.
            let snapshot = SnapshotRef::extensible(self.writer.nids.take(1).await?);
            branches.push(StateAt { snapshot, state });
        }
        if branches.is_empty() {
            return Err(ReceiveError::MissingEvents);
        }
        Ok(merge::merge(&self.writer, room, branches, None).await?.at.state.iter().map(Arc::clone).collect())
    }

    /// The number of an event if it is a state event that is not rejected. It is fetched when it is not stored.
    async fn state_event(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        event: &EventId,
        deadline: &Deadline,
    ) -> Result<Option<EventNid>, ReceiveError> {
        let id = std::slice::from_ref(event);
        if event_lookup::known(&self.writer.db, id).await?.is_empty() {
            let told = deadline.ask(server, self.peers.event(server, event)).await;
            let raw = told.map_err(|error| {
                tracing::info!(%event, room = %room.id, "{error}");
                ReceiveError::MissingEvents
            })?;
            let events = self.open(room, vec![raw]).await;
            outliers::store(&self.writer, room, events).await?;
        }
        let known = event_lookup::known(&self.writer.db, id).await?;
        let known = known.get(event).filter(|known| known.room_nid == room.nid).ok_or(ReceiveError::MissingEvents)?;
        Ok((known.is_state && known.verdict != Verdict::Rejected).then_some(known.event_nid))
    }

    async fn state_of(&self, room: &Room, nids: &[EventNid]) -> Result<StateMap, DbError> {
        let mut state = StateMap::default();
        for nids in nids.chunks(READ_AT_ONCE) {
            let (version, nids) = (room.version, nids.to_vec());
            let entries = self.writer.db.read(move |tx| state_at::entries(tx, version, &nids)).await?;
            entries.into_iter().for_each(|entry| _ = state.insert(entry));
        }
        Ok(state)
    }
}
