//! Delivery of the log to many destinations, each at its own pace.
//!
//! A destination's *cursor* says up to which position it has everything that the log has for it. A destination that is
//! up to date has no entry anywhere and costs nothing: the position of the outbox, which the database keeps, speaks for
//! all of them. A destination that fails keeps a cursor of its own in the database until it has caught up, and so does,
//! over a restart, one with a delivery under way.
//!
//! - `kind`: what a kind of destination (other servers, ...) implements itself
//! - `destinations`: the destinations with undelivered data
//! - `pauses`: waits before destinations are tried again
//! - `recent`: the newest entries of the log, in memory
//! - `slots`: how many deliveries run at the same time
//! - `values`: what an outbox and a kind of destination hand to each other

mod destinations;
mod kind;
mod pauses;
mod recent;
mod slots;
mod values;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_base::background::{catch_panic, panic_message};
use plexus_store::{DbError, Position};
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use kind::{Content, DestinationKind, Extras, Recipients};
pub use slots::SlotLimits;
pub use values::{Behind, CameBack, Cursors, Due, LogChunk, LogEntry, Outcome, Progress, Retry, Turn};

use destinations::Destinations;
use pauses::{Pause, Pauses};
use recent::Recent;
use slots::{DeliveryClass, DeliverySlots, FAST_LIMIT, Slot};

/// Progress is written at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// How long a destination is left alone whose delivery panicked.
const RETRY_AFTER_PANIC: Duration = Duration::from_secs(300);
/// How often the part of the log that every destination has is deleted.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(3_600);

/// Delivers to the destinations of one kind. Owned by one process: another learns of cursors from the database, once
/// this one has ended.
pub struct Outbox<K: DestinationKind> {
    kind: K,
    clock: Clock,
    state: Mutex<State<K>>,
    slots: DeliverySlots,
    /// Notified when a destination has become ready, or a slot free.
    ready: Notify,
    /// Notified when the progress has changed.
    progressed: Arc<Notify>,
    /// Held while the log is read: no entry is handed out twice.
    distributing: tokio::sync::Mutex<()>,
}

struct State<K: DestinationKind> {
    destinations: Destinations<K::Key, K::Extras>,
    recent: Recent<K::Content, K::Recipients>,
    /// No more deliveries are started.
    stopping: bool,
}

impl<K: DestinationKind> Outbox<K> {
    /// Continues where the last run of the program stopped, once [`Self::run`] runs.
    ///
    /// # Errors
    /// When the cursors cannot be read.
    pub async fn start(kind: K, clock: Clock, limits: SlotLimits) -> Result<Arc<Self>, DbError> {
        let cursors = kind.load_cursors().await?;
        let recent = Recent::new(cursors.position);
        let progressed = Arc::<Notify>::default();
        let destinations = Destinations::new(cursors, K::KEEPS_CURSORS_OF_SLOW, Arc::clone(&progressed));
        let state = State { destinations, recent, stopping: false };
        Ok(Arc::new(Self {
            kind,
            clock,
            state: Mutex::new(state),
            slots: DeliverySlots::new(limits),
            ready: Notify::new(),
            progressed,
            distributing: tokio::sync::Mutex::default(),
        }))
    }

    /// Returns the kind of its destinations.
    pub fn kind(&self) -> &K {
        &self.kind
    }

    /// Delivers, without end.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(Arc::clone(&self).deliver(), self.keep_progress(), self.clean_up());
    }

    /// Starts no more deliveries, and waits a little for those under way.
    pub async fn stop(&self) {
        self.state.lock().stopping = true;
        self.slots.finish_fast().await;
    }

    /// Writes the progress, once [`Self::run`] has ended.
    pub async fn close(&self) {
        self.state.lock().destinations.close();
        self.write_progress().await;
    }

    /// Reads the log up to the last commit, and finds out which destinations get something.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn distribute(&self) -> Result<(), DbError> {
        let _one_at_a_time = self.distributing.lock().await;
        loop {
            let (after, committed) = (self.state.lock().destinations.distributed, self.kind.committed());
            if after >= committed {
                return Ok(());
            }
            let LogChunk { entries, upto } = self.kind.read_log(after, committed).await?;
            self.hand_out(entries, after, upto);
        }
    }

    fn hand_out(&self, entries: Vec<LogEntry<K::Content, K::Recipients>>, after: Position, upto: Position) {
        let allowed = |entry: LogEntry<_, K::Recipients>| {
            let keys = entry.recipients.keys().into_iter().filter(|key| self.kind.is_allowed(key)).collect::<Vec<_>>();
            (entry, keys)
        };
        let entries: Vec<_> = entries.into_iter().map(allowed).collect();
        let mut state = self.state.lock();
        for (entry, keys) in entries {
            for key in keys {
                state.destinations.add_log_entry(key, after, entry.position);
            }
            state.recent.push(entry);
        }
        state.destinations.set_distributed(upto);
        drop(state);
        self.ready.notify_one();
        self.progressed.notify_one();
    }

    /// Adds something for destinations that is not in the log and must be delivered. Call [`Self::wake`] afterwards.
    pub fn add_extras(&self, keys: impl IntoIterator<Item = K::Key>, add: impl Fn(&mut K::Extras)) {
        let keys: Vec<K::Key> = keys.into_iter().filter(|key| self.kind.is_allowed(key)).collect();
        let mut state = self.state.lock();
        for key in keys {
            state.destinations.add_extras(key, &add);
        }
    }

    /// Adds something for destinations that is not in the log and may be lost: destinations that have
    /// failed do not get it. Call [`Self::wake`] afterwards.
    pub fn add_ephemeral(&self, keys: impl IntoIterator<Item = K::Key>, add: impl Fn(&mut K::Extras)) {
        let keys: Vec<K::Key> = keys.into_iter().filter(|key| self.kind.is_allowed(key)).collect();
        let mut state = self.state.lock();
        for key in keys {
            state.destinations.add_ephemeral(key, &add);
        }
    }

    /// Starts what can be started, after extras were added: added one after the other, they may go in one delivery.
    pub fn wake(&self) {
        self.ready.notify_one();
    }

    /// Forgets the failures of destinations, which are not what they were: they are tried again at once.
    pub fn renew(&self, keys: &[K::Key]) {
        let mut state = self.state.lock();
        keys.iter().for_each(|key| state.destinations.renew(key));
        drop(state);
        self.ready.notify_one();
    }

    /// Starts deliveries, without end: one at a time to each destination.
    async fn deliver(self: Arc<Self>) {
        let mut deliveries: JoinSet<Option<Pause<K::Key>>> = JoinSet::new();
        let mut pauses = Pauses::new();
        loop {
            for class in [DeliveryClass::Fast, DeliveryClass::Slow] {
                while let Some(slot) = self.slots.acquire(class)
                    && let Some(turn) = self.next_turn(class)
                {
                    pauses.cancel(&turn.key);
                    deliveries.spawn(Arc::clone(&self).take_turn(turn, class, slot));
                }
            }
            tokio::select! {
                () = self.ready.notified() => {}
                Some(done) = deliveries.join_next() => {
                    if let Ok(Some(pause)) = done {
                        pauses.start(pause, &self.clock);
                    }
                }
                key = pauses.next(), if !pauses.is_empty() => {
                    if let Some(key) = key {
                        self.came_back(&CameBack { key, is_up: false });
                    }
                }
                came_back = self.kind.came_back() => self.came_back(&came_back),
            }
        }
    }

    fn came_back(&self, came_back: &CameBack<K::Key>) {
        self.state.lock().destinations.came_back(came_back);
    }

    fn next_turn(&self, class: DeliveryClass) -> Option<Turn<K::Key, K::Extras>> {
        let mut state = self.state.lock();
        if state.stopping { None } else { state.destinations.next(class, self.clock.monotonic()) }
    }

    /// Makes one delivery. Returns the pause after it, if there is one.
    async fn take_turn(
        self: Arc<Self>,
        turn: Turn<K::Key, K::Extras>,
        class: DeliveryClass,
        mut slot: Slot,
    ) -> Option<Pause<K::Key>> {
        let outcome = {
            let attempt = std::pin::pin!(self.attempt_without_panic(&turn));
            match class {
                DeliveryClass::Fast => self.run_fast(attempt, &mut slot).await,
                DeliveryClass::Slow => Some(attempt.await),
            }
        };
        let Some(outcome) = outcome else {
            self.state.lock().destinations.gave_way(turn);
            return None;
        };
        let pause = self.conclude(turn, outcome);
        self.progressed.notify_one();
        pause
    }

    /// Runs a delivery that started in a fast slot. When it takes longer than [`FAST_LIMIT`] it moves to a slow slot;
    /// if none is free and fast destinations wait, it is dropped (`None`), to be repeated in a slow slot.
    async fn run_fast<T>(&self, mut attempt: Pin<&mut impl Future<Output = T>>, slot: &mut Slot) -> Option<T> {
        loop {
            tokio::select! {
                outcome = &mut attempt => return Some(outcome),
                () = self.clock.sleep(FAST_LIMIT) => {}
            }
            if let Some(slow) = self.slots.acquire(DeliveryClass::Slow) {
                *slot = slow;
                self.ready.notify_one();
                return Some(attempt.await);
            }
            if self.state.lock().destinations.has_fast_ready() {
                return None;
            }
        }
    }

    /// A panic counts as a failure: a delivery that never ended would stop all later ones to its destination, and keep
    /// the log from being pruned.
    async fn attempt_without_panic(&self, turn: &Turn<K::Key, K::Extras>) -> Outcome<K::Extras> {
        catch_panic(self.attempt(turn)).await.unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            tracing::error!("a bug: the delivery to {} panicked: {message}", turn.key);
            Outcome::Failed { error: message.into(), retry: Retry::After(RETRY_AFTER_PANIC) }
        })
    }

    async fn attempt(&self, turn: &Turn<K::Key, K::Extras>) -> Outcome<K::Extras> {
        if let Err(outcome) = self.kind.check(&turn.key) {
            return outcome;
        }
        match self.due(turn).await {
            Ok(due) => self.kind.deliver(turn, due).await,
            Err(error) => self.kind.failed(&turn.key, error.into()),
        }
    }

    /// Returns the content of the log for a destination.
    async fn due(&self, turn: &Turn<K::Key, K::Extras>) -> Result<Due<K::Content>, DbError> {
        let recent = self.state.lock().recent.due(&turn.key, turn.cursor, turn.upto, K::MAX_DUE);
        match recent {
            // One that was away gets less of what it has missed.
            Some(due) if due.entries.len() < K::MAX_DUE || !turn.was_away => Ok(due),
            _ => self.kind.catch_up(&turn.key, turn.cursor, turn.upto).await,
        }
    }

    /// Records the outcome of a delivery. Returns the pause after it, if there is one.
    fn conclude(&self, turn: Turn<K::Key, K::Extras>, outcome: Outcome<K::Extras>) -> Option<Pause<K::Key>> {
        let key = turn.key.clone();
        let mut state = self.state.lock();
        match outcome {
            Outcome::Delivered { cursor, remaining } => {
                state.destinations.delivered(&key, cursor, remaining);
                None
            }
            Outcome::Repeat { extras, pause } => {
                state.destinations.repeat(Turn { extras, ..turn });
                pause.map(|length| Pause { key, length, is_after_failure: false })
            }
            Outcome::Abandoned => {
                state.destinations.remove(&key);
                None
            }
            Outcome::Failed { error, retry } => {
                let came_back = state.destinations.failed(turn, retry, self.clock.monotonic());
                let Retry::After(length) = retry else { return None };
                if came_back {
                    return None;
                }
                tracing::info!("nothing could be delivered to {key}: {error}");
                Some(Pause { key, length, is_after_failure: true })
            }
        }
    }

    /// Writes the progress. Deliveries after it are repeated after a restart.
    async fn write_progress(&self) {
        let Some(progress) = self.state.lock().destinations.progress() else { return };
        let mut writing = Writing { outbox: self, progress: Arc::new(progress), is_stored: false };
        match self.kind.store_progress(Arc::clone(&writing.progress)).await {
            Ok(()) => writing.is_stored = true,
            Err(error) => tracing::warn!("cannot record what {} have: {error}", K::DESTINATIONS),
        }
    }

    async fn keep_progress(&self) {
        loop {
            self.progressed.notified().await;
            self.write_progress().await;
            self.clock.sleep(PROGRESS_INTERVAL).await;
        }
    }

    /// Deletes now and then what every destination has, and forgets failures of destinations that get nothing.
    async fn clean_up(&self) {
        loop {
            let (delivered, distributed) = {
                let mut state = self.state.lock();
                state.destinations.forget_idle();
                (state.destinations.delivered_to_all(), state.destinations.distributed)
            };
            if let Err(error) = self.kind.forget_delivered(delivered, distributed).await {
                tracing::warn!("what {} have is not deleted: {error}", K::DESTINATIONS);
            }
            self.clock.sleep(CLEANUP_INTERVAL).await;
        }
    }
}

/// Progress that is being written. If that fails, or is given up, the next write holds it too.
struct Writing<'a, K: DestinationKind> {
    outbox: &'a Outbox<K>,
    progress: Arc<Progress<K::Key>>,
    is_stored: bool,
}

impl<K: DestinationKind> Drop for Writing<'_, K> {
    fn drop(&mut self) {
        if !self.is_stored {
            self.outbox.state.lock().destinations.not_stored(&self.progress);
        }
    }
}

#[cfg(test)]
mod tests;
