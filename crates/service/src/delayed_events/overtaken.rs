//! Delayed state events are cancelled when another user sets the same state: it was decided without knowing of that.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_store::repo::delayed_events::{self as repo, Finalised};
use plexus_store::{Change, CommitListener, Database, DbError, Position, RoomNid};
use tokio::sync::Notify;

use super::{DelayedSendError, ErrorBody, finalise};
use crate::tasks::TaskScheduler;

/// Watches the rooms for which state events are scheduled. The whole server owns it; another process would read these
/// rooms from the database when it becomes the owner.
pub struct OvertakenStates {
    db: Database,
    clock: Clock,
    tasks: Arc<TaskScheduler>,
    error_body: ErrorBody,
    rooms: Mutex<WatchedRooms>,
    changed: Notify,
}

#[derive(Default)]
struct WatchedRooms {
    /// Changed on the database's writer thread only, together with the rows.
    all: HashSet<RoomNid>,
    /// Those with events that have not been looked at.
    changed: HashSet<RoomNid>,
}

impl OvertakenStates {
    /// Starts watching; [`Self::run`] has to run.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(
        db: Database,
        clock: Clock,
        tasks: Arc<TaskScheduler>,
        error_body: ErrorBody,
    ) -> Result<Arc<Self>, DbError> {
        let rooms: HashSet<RoomNid> = db.read(repo::rooms_with_state).await?.into_iter().collect();
        let rooms = WatchedRooms { changed: rooms.clone(), all: rooms };
        let this = Self { db, clock, tasks, error_body, rooms: Mutex::new(rooms), changed: Notify::new() };
        let this = Arc::new(this);
        this.db.add_listener(&this);
        Ok(this)
    }

    /// Watches a room, from within the transaction that schedules a state event for it.
    pub(super) fn watch(&self, room: RoomNid) {
        self.rooms.lock().all.insert(room);
    }

    /// Cancels delayed events, without end.
    pub async fn run(self: Arc<Self>) {
        loop {
            let rooms = std::mem::take(&mut self.rooms.lock().changed);
            for room in rooms {
                match self.check(room).await {
                    Ok(()) => {}
                    Err(DbError::Closed) => return,
                    // It is checked once more before the event is sent.
                    Err(error) => tracing::error!(room, %error, "delayed events of a room could not be checked"),
                }
            }
            self.changed.notified().await;
        }
    }

    async fn check(self: &Arc<Self>, room: RoomNid) -> Result<(), DbError> {
        let (overtaken, has_state) =
            self.db.read(move |tx| Ok::<_, DbError>((repo::overtaken(tx, room)?, repo::has_state(tx, room)?))).await?;
        if has_state && overtaken.is_empty() {
            return Ok(());
        }
        let (this, finalised_ts) = (Arc::clone(self), self.clock.now_ms());
        self.db
            .write(move |tx| {
                for delay_id in overtaken {
                    let Some(event) = repo::get(tx, &delay_id)? else { continue };
                    // One that is being sent is left to its sender.
                    if this.tasks.withdraw(tx, &delay_id)? {
                        let error = Some((this.error_body)(DelayedSendError::Overtaken));
                        finalise(tx, &event, Finalised { finalised_ts, event_id: None, error })?;
                    }
                }
                if !repo::has_state(tx, room)? {
                    this.rooms.lock().all.remove(&room);
                }
                Ok(())
            })
            .await
    }
}

impl CommitListener for OvertakenStates {
    fn published(&self, _position: Position, changes: &[Change]) {
        let mut rooms = self.rooms.lock();
        if rooms.all.is_empty() {
            return;
        }
        let WatchedRooms { all, changed } = &mut *rooms;
        let before = changed.len();
        for change in changes {
            match change {
                Change::Event { room, .. } if all.contains(room) => drop(changed.insert(*room)),
                Change::Missed { .. } => changed.extend(all.iter()),
                _ => {}
            }
        }
        if changed.len() > before {
            self.changed.notify_one();
        }
    }
}
