//! Merges the forward extremities of rooms that have many: the state of such a room is expensive to resolve. An empty
//! event that names them does it, as in Synapse.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::UserId;
use plexus_store::{DbError, RoomNid};

use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::rooms::Rooms;
use crate::model::timeline_event::DUMMY_EVENT_TYPE;
use crate::write::append;
use crate::write::draft::Draft;
use crate::write::error::SendError;
use crate::write::writer::RoomWriter;

/// The interval between two runs.
const MERGE_INTERVAL: Duration = Duration::from_secs(300);
/// The maximum number of rooms of one run.
const MAX_ROOMS: usize = 5;
/// The time after which a room is tried again in which nobody could send.
const RETRY_INTERVAL: Duration = Duration::from_secs(7 * 86_400);
/// The maximum number of members that are tried as the sender.
const MAX_SENDERS: usize = 10;

/// Sends dummy events to rooms in memory with many forward extremities. Extremities are added only to rooms in memory.
pub struct DummyEvents {
    rooms: Arc<Rooms>,
    writer: Arc<RoomWriter>,
    threshold: usize,
    /// The rooms in which nobody could send, each with the time (monotonic) at which it is tried again. Owned by this
    /// process; another one would try once more.
    postponed: HashMap<RoomNid, Duration>,
}

impl DummyEvents {
    /// Creates the service. Rooms with more than `threshold` forward extremities get an event.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>, threshold: usize) -> Self {
        Self { rooms: Arc::clone(writer.rooms()), writer, threshold, postponed: HashMap::new() }
    }

    /// Sends events, every five minutes. Does not return until the database is closed.
    pub async fn run(mut self) {
        loop {
            self.rooms.clock.sleep(MERGE_INTERVAL).await;
            match self.merge_all().await {
                Ok(()) => {}
                Err(DbError::Closed) => return,
                Err(error) => tracing::warn!("forward extremities could not be merged: {error}"),
            }
        }
    }

    async fn merge_all(&mut self) -> Result<(), DbError> {
        let now = self.rooms.clock.monotonic();
        self.postponed.retain(|_, until| *until > now);
        let extremities = |room: &Room| room.view().tip.extremities.len();
        let mut rooms = self
            .rooms
            .memory
            .rooms
            .matching(|room| extremities(room) > self.threshold && !self.postponed.contains_key(&room.nid));
        rooms.sort_by_key(|room| Reverse(extremities(room)));
        for room in rooms.into_iter().take(MAX_ROOMS) {
            let Some(room) = self.rooms.get_readable_nid(room.nid).await? else { continue };
            if !self.merge(&room).await? {
                tracing::info!(room = %room.id, "nobody here can send the event that would merge forward extremities");
                self.postponed.insert(room.nid, now + RETRY_INTERVAL);
            }
        }
        Ok(())
    }

    /// Sends a dummy event. Returns `false` if nobody here may. What fails otherwise is tried at the next run.
    async fn merge(&self, room: &Arc<Room>) -> Result<bool, DbError> {
        for sender in senders(&room.view()) {
            match append::append(&self.writer, room, &Draft::dummy(&sender)).await {
                Ok(_) => return Ok(true),
                Err(SendError::Db(error)) => return Err(error),
                Err(error @ SendError::Forbidden(_)) => {
                    tracing::debug!(room = %room.id, %sender, "a dummy event is not sent: {error}");
                }
                Err(error) => {
                    tracing::debug!(room = %room.id, %sender, "a dummy event is not sent now: {error}");
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Returns local members with the power to send a dummy event.
fn senders(view: &RoomView) -> Vec<UserId> {
    let needs = view.power_levels.event(DUMMY_EVENT_TYPE, false);
    let may_send = |user: &&UserId| view.power_levels.user(user) >= needs;
    view.local_joined.iter().filter(may_send).take(MAX_SENDERS).cloned().collect()
}
