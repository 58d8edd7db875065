//! Soft-failed sticky events: they are judged again while they are sticky, so that all servers come to agree on them
//! (MSC4354).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::auth;
use plexus_protocol::event::Pdu;
use plexus_store::repo::state_snapshots::SnapshotRef;
use plexus_store::{DbError, EventNid, RoomNid, repo};

use crate::model::room::Room;
use crate::model::stored_events;
use crate::write::writer::RoomWriter;
use crate::write::{auth_state, policy};

/// The most rooms whose last state is remembered; above it each is judged once more.
const MAX_REMEMBERED: usize = 1_000;
/// The pause after a failure of the database.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Judges soft-failed sticky events again when the state of their room changes.
pub struct StickyJudge {
    writer: Arc<RoomWriter>,
}

impl StickyJudge {
    /// Creates the service. [`Self::run`] has to run.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>) -> Self {
        Self { writer }
    }

    /// Judges events, without end.
    pub async fn run(self) {
        let sticky = self.writer.rooms.sticky_events();
        let mut judged: HashMap<RoomNid, SnapshotRef> = HashMap::new();
        loop {
            let mut failed = BTreeSet::new();
            for room in sticky.take_changed().await {
                if judged.len() >= MAX_REMEMBERED {
                    judged.clear();
                }
                match self.judge(room, judged.get(&room).copied()).await {
                    Ok(state) => drop(state.and_then(|state| judged.insert(room, state))),
                    Err(DbError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(room, "soft-failed sticky events were not judged again: {error}");
                        failed.insert(room);
                    }
                }
            }
            if !failed.is_empty() {
                self.writer.clock.sleep(RETRY_INTERVAL).await;
                sticky.judge_again(failed);
            }
        }
    }

    /// Judges the soft-failed events of a room, unless its state is still `judged`. Returns the state that they were
    /// judged by.
    async fn judge(&self, room: RoomNid, judged: Option<SnapshotRef>) -> Result<Option<SnapshotRef>, DbError> {
        let RoomWriter { rooms, db, .. } = &*self.writer;
        let Some(room) = rooms.get_readable_nid(room).await? else { return Ok(None) };
        let view = room.view();
        let state = view.tip.snapshot;
        if view.is_partial() || judged.is_some_and(|judged| judged.nid == state.nid) {
            return Ok(None);
        }
        let (version, nids) = (room.version, rooms.sticky_events().soft_failed(room.nid));
        let events = db.read(move |tx| stored_events::by_nids(tx, version, &nids)).await?;
        let mut allowed: Vec<EventNid> = Vec::new();
        for event in events {
            if self.is_allowed(&room, &event.pdu).await? {
                allowed.push(event.nid);
            }
        }
        if !allowed.is_empty() {
            let nid = room.nid;
            db.write(move |tx| repo::sticky_events::allow(tx, nid, &allowed)).await?;
        }
        Ok(Some(state))
    }

    async fn is_allowed(&self, room: &Room, pdu: &Pdu) -> Result<bool, DbError> {
        if pdu.sticky_duration_ms().is_none() || policy::needs_recommendation(room, pdu) {
            return Ok(false);
        }
        let view = room.view();
        let state = auth_state::auth_state(&self.writer.rooms, room.version, &view.state, pdu).await?;
        Ok(auth::check(room.version.rules(), pdu, &state.lookup()).is_ok())
    }
}
