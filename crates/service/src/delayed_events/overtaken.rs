//! Delayed state events are cancelled when another user sets the same state: it was decided without knowing of that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_rooms::{RoomView, Rooms};
use plexus_store::repo::delayed_events::{self as repo, DelayedEvent, Finalised};
use plexus_store::repo::rooms;
use plexus_store::{Change, CommitListener, Database, DbError, EventNid, Position, RoomNid, Tx};
use tokio::sync::Notify;

use super::{DelayedSendError, ErrorBody, finalise};
use crate::tasks::TaskScheduler;

/// Watches the state that is to be set by scheduled events. The whole server owns it; another process would read it
/// from the database when it becomes the owner.
pub struct OvertakenStates {
    db: Database,
    clock: Clock,
    rooms: Arc<Rooms>,
    tasks: Arc<TaskScheduler>,
    error_body: ErrorBody,
    watched: Mutex<WatchedRooms>,
    changed: Notify,
}

/// The type and the state key of a piece of state.
type StateKey = (String, String);

#[derive(Default)]
struct WatchedRooms {
    /// Changed on the database's writer thread only, together with the rows.
    all: HashMap<RoomNid, HashMap<StateKey, WatchedState>>,
    /// Those with events that have not been looked at.
    changed: HashSet<RoomNid>,
    /// Those for which events are being scheduled: to be looked at once that is committed.
    added: HashSet<RoomNid>,
}

/// A piece of state that a scheduled event is to set.
#[derive(Debug, Clone, Copy, Default)]
struct WatchedState {
    is_checked: bool,
    /// The event that had set it when it was checked.
    set_by: Option<EventNid>,
}

impl OvertakenStates {
    /// Starts watching; [`Self::run`] has to run.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(
        db: Database,
        clock: Clock,
        rooms: Arc<Rooms>,
        tasks: Arc<TaskScheduler>,
        error_body: ErrorBody,
    ) -> Result<Arc<Self>, DbError> {
        let mut watched = WatchedRooms::default();
        for (room, event_type, state_key) in db.read(repo::scheduled_states).await? {
            watched.watch(room, event_type, state_key);
        }
        watched.changed = std::mem::take(&mut watched.added);
        let (watched, changed) = (Mutex::new(watched), Notify::new());
        let this = Arc::new(Self { db, clock, rooms, tasks, error_body, watched, changed });
        this.db.add_listener(&this);
        Ok(this)
    }

    /// Watches a piece of state, from within the transaction that schedules an event for it.
    pub(super) fn watch(&self, room: RoomNid, event_type: &str, state_key: &str) {
        self.watched.lock().watch(room, event_type.to_owned(), state_key.to_owned());
    }

    /// Stops watching the state that an event was to set, unless others are to set it. Called within the transaction
    /// that finalises the event.
    pub(super) fn unwatch(&self, tx: &mut Tx<'_>, event: &DelayedEvent) -> Result<(), DbError> {
        let Some(state_key) = &event.state_key else { return Ok(()) };
        let Some((room, _)) = rooms::number_and_version(tx, &event.room_id)? else { return Ok(()) };
        if !repo::sets_state(tx, room, &event.event_type, state_key)? {
            self.watched.lock().checked(room, (event.event_type.clone(), state_key.clone()), None);
        }
        Ok(())
    }

    /// Cancels delayed events, without end.
    pub async fn run(self: Arc<Self>) {
        loop {
            let rooms = std::mem::take(&mut self.watched.lock().changed);
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

    /// Cancels the events of a room whose state has been set. Where none of the watched state changed, that takes no
    /// query.
    async fn check(self: &Arc<Self>, nid: RoomNid) -> Result<(), DbError> {
        let Some(room) = self.rooms.get_readable_nid(nid).await? else { return Ok(()) };
        let unchecked = self.watched.lock().unchecked(nid, &room.view());
        if unchecked.is_empty() {
            return Ok(());
        }
        let (this, finalised_ts) = (Arc::clone(self), self.clock.now_ms());
        self.db
            .write(move |tx| {
                for ((event_type, state_key), set_by) in unchecked {
                    for delay_id in repo::overtaken(tx, nid, &event_type, &state_key)? {
                        let Some(event) = repo::get(tx, &delay_id)? else { continue };
                        // One that is being sent is left to its sender.
                        if this.tasks.withdraw(tx, &delay_id)? {
                            let error = Some((this.error_body)(DelayedSendError::Overtaken));
                            finalise(tx, &this, &event, Finalised { finalised_ts, event_id: None, error })?;
                        }
                    }
                    let is_needed = repo::sets_state(tx, nid, &event_type, &state_key)?;
                    let checked = is_needed.then_some(WatchedState { is_checked: true, set_by });
                    this.watched.lock().checked(nid, (event_type, state_key), checked);
                }
                Ok(())
            })
            .await
    }
}

impl WatchedRooms {
    fn watch(&mut self, room: RoomNid, event_type: String, state_key: String) {
        self.all.entry(room).or_default().insert((event_type, state_key), WatchedState::default());
        self.added.insert(room);
    }

    /// Returns the watched state of a room that changed since it was checked, with the events that have set it.
    fn unchecked(&self, room: RoomNid, view: &RoomView) -> Vec<(StateKey, Option<EventNid>)> {
        let states = self.all.get(&room).into_iter().flatten();
        let unchecked = states.filter_map(|(key, watched)| {
            let set_by = view.state.get(&key.0, &key.1).map(|entry| entry.nid);
            (!watched.is_checked || watched.set_by != set_by).then(|| (key.clone(), set_by))
        });
        unchecked.collect()
    }

    /// Records that a piece of state was checked; `None`: nothing is scheduled for it.
    fn checked(&mut self, room: RoomNid, key: StateKey, checked: Option<WatchedState>) {
        let states = self.all.entry(room).or_default();
        match checked {
            Some(checked) => drop(states.insert(key, checked)),
            None => drop(states.remove(&key)),
        }
        if states.is_empty() {
            self.all.remove(&room);
        }
    }
}

impl CommitListener for OvertakenStates {
    fn published(&self, _position: Position, changes: &[Change]) {
        let mut watched = self.watched.lock();
        if watched.all.is_empty() {
            return;
        }
        let WatchedRooms { all, changed, added } = &mut *watched;
        changed.extend(added.drain());
        for change in changes {
            match change {
                Change::Event { room, .. } if all.contains_key(room) => drop(changed.insert(*room)),
                Change::Missed { .. } => changed.extend(all.keys()),
                _ => {}
            }
        }
        if !changed.is_empty() {
            self.changed.notify_one();
        }
    }
}
