//! The destinations with undelivered data. One that is up to date has no entry.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use plexus_store::Position;
use tokio::sync::Notify;

use super::kind::Extras;
use super::slots::DeliveryClass;
use super::values::{Behind, CameBack, Cursor, Cursors, Progress, Retry, Turn};

/// Where a destination stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// In `Destinations::ready` of its class.
    Ready,
    /// A delivery is under way; `again` when the destination came back meanwhile.
    Delivering { again: bool },
    /// It failed, and will be tried again soon.
    Retried,
    /// It failed, and is left alone.
    Failed,
    /// It has everything but extras that are not due, or is ahead of the outbox, or failed and has nothing to get now.
    Held,
}

#[derive(Debug)]
struct Destination<X> {
    stage: Stage,
    /// The class of its next delivery.
    class: DeliveryClass,
    /// It has everything up to here.
    cursor: Cursor,
    /// The newest entry of the log that it gets.
    newest: Position,
    extras: X,
    /// How often it failed in a row.
    failures: u32,
    /// When the first of these failures was, on the monotonic clock.
    failing_since: Option<Duration>,
    /// It failed, and has not caught up since.
    away: bool,
    /// Whether its cursor is kept in the database.
    keep: bool,
    /// Its cursor in the database.
    stored: Option<Position>,
    /// The position in the database has waited for it.
    delays_position: bool,
}

/// The destinations with undelivered data.
pub(super) struct Destinations<K, X> {
    /// The log has been read up to here.
    pub distributed: Position,
    destinations: HashMap<K, Destination<X>>,
    ready: Ready<K>,
    /// Destinations that have got, before a restart, what the outbox has not read again yet.
    ahead: Vec<K>,
    /// Destinations that have caught up, whose cursors are still in the database.
    caught_up: Vec<K>,
    /// The outbox's position in the database.
    stored: Position,
    /// See [`DestinationKind::KEEPS_CURSORS_OF_SLOW`](super::DestinationKind::KEEPS_CURSORS_OF_SLOW).
    keeps_cursors_of_slow: bool,
    /// Notified when the progress has changed.
    progressed: Arc<Notify>,
}

/// The destinations that wait for a slot, in their order.
struct Ready<K> {
    fast: VecDeque<K>,
    slow: VecDeque<K>,
}

impl<K> Ready<K> {
    fn of(&mut self, class: DeliveryClass) -> &mut VecDeque<K> {
        match class {
            DeliveryClass::Fast => &mut self.fast,
            DeliveryClass::Slow => &mut self.slow,
        }
    }
}

impl<K: Clone + Eq + Hash, X: Extras> Destinations<K, X> {
    /// As the database has them.
    pub(super) fn new(cursors: Cursors<K, X>, keeps_cursors_of_slow: bool, progressed: Arc<Notify>) -> Self {
        let Cursors { position, behind, extras } = cursors;
        let mut destinations = Self {
            distributed: position,
            destinations: HashMap::new(),
            ready: Ready { fast: VecDeque::new(), slow: VecDeque::new() },
            ahead: Vec::new(),
            caught_up: Vec::new(),
            stored: position,
            keeps_cursors_of_slow,
            progressed,
        };
        for Behind { key, cursor, stored, away } in behind {
            let class = if away { DeliveryClass::Slow } else { DeliveryClass::Fast };
            let destination = destinations.entry_in(class, key);
            destination.cursor.set(cursor);
            destination.newest = position;
            destination.away = away;
            destination.keep = true;
            destination.stored = stored;
        }
        for (key, extras) in extras {
            destinations.entry(key).extras.put_back(extras);
        }
        destinations
    }

    /// The log has an entry for a destination, which has everything at or before `before`, unless it is behind already.
    pub(super) fn add_log_entry(&mut self, key: K, before: Position, position: Position) {
        let is_new = !self.destinations.contains_key(&key);
        let destination = self.entry(key.clone());
        if is_new {
            destination.cursor.set(before);
        } else if !destination.is_behind() {
            destination.cursor.raise(before);
        }
        destination.newest = destination.newest.max(position);
        self.wake(&key);
    }

    /// The log has been read up to here, and its entries were added.
    pub(super) fn set_distributed(&mut self, position: Position) {
        self.distributed = position;
        for key in std::mem::take(&mut self.ahead) {
            match self.destinations.get(&key) {
                Some(destination) if destination.cursor.get() > position => self.ahead.push(key),
                Some(destination) if destination.is_held_for_nothing() => self.remove(&key),
                _ => {}
            }
        }
    }

    /// Adds extras for a destination.
    pub(super) fn add_extras(&mut self, key: K, add: impl FnOnce(&mut X)) {
        add(&mut self.entry(key.clone()).extras);
        self.wake(&key);
    }

    /// Adds extras that may be lost: a destination that is left alone does not get them.
    pub(super) fn add_ephemeral(&mut self, key: K, add: impl FnOnce(&mut X)) {
        let destination = self.entry(key.clone());
        if destination.stage == Stage::Failed {
            return;
        }
        add(&mut destination.extras);
        self.wake(&key);
    }

    /// Makes a held destination ready, if something can be delivered to it.
    fn wake(&mut self, key: &K) {
        let Some(destination) = self.destinations.get_mut(key) else { return };
        if destination.stage == Stage::Held && (destination.is_behind() || destination.extras.is_due()) {
            destination.stage = Stage::Ready;
            self.ready.of(destination.class).push_back(key.clone());
        }
    }

    /// Returns the next delivery of a class.
    pub(super) fn next(&mut self, class: DeliveryClass, now: Duration) -> Option<Turn<K, X>> {
        loop {
            let key = self.ready.of(class).pop_front()?;
            let upto = self.distributed;
            let Some(destination) = self.destinations.get_mut(&key) else { continue };
            // It may have changed its class since it was put here.
            if destination.stage != Stage::Ready || destination.class != class {
                continue;
            }
            destination.stage = Stage::Delivering { again: false };
            return Some(Turn {
                cursor: destination.cursor.get(),
                upto,
                extras: destination.extras.take(),
                failures: destination.failures,
                failing_for: destination.failing_since.map(|since| now.saturating_sub(since)),
                was_away: destination.away,
                cursor_now: destination.cursor.clone(),
                progressed: Arc::clone(&self.progressed),
                key,
            });
        }
    }

    /// Whether a fast destination waits for a slot.
    pub(super) fn has_fast_ready(&self) -> bool {
        !self.ready.fast.is_empty()
    }

    /// A delivery took long, and was dropped: it is repeated in a slow slot.
    pub(super) fn gave_way(&mut self, turn: Turn<K, X>) {
        if let Some(destination) = self.destinations.get_mut(&turn.key) {
            destination.class = DeliveryClass::Slow;
        }
        self.repeat(turn);
    }

    /// A delivery led to nothing, and is repeated.
    pub(super) fn repeat(&mut self, turn: Turn<K, X>) {
        let Some(destination) = self.destinations.get_mut(&turn.key) else { return };
        destination.extras.put_back(turn.extras);
        destination.stage = Stage::Ready;
        self.ready.of(destination.class).push_back(turn.key);
    }

    /// A destination has everything up to `cursor`. `remaining` are the extras that the delivery did not carry.
    pub(super) fn delivered(&mut self, key: &K, cursor: Position, remaining: X) {
        let Some(destination) = self.destinations.get_mut(key) else { return };
        destination.cursor.raise(cursor);
        destination.class = DeliveryClass::Fast;
        destination.failures = 0;
        destination.failing_since = None;
        destination.extras.delivered(remaining);
        if destination.is_behind() || destination.extras.is_due() {
            destination.stage = Stage::Ready;
            self.ready.fast.push_back(key.clone());
        } else if destination.extras.is_durable() {
            destination.stage = Stage::Held;
        } else if destination.cursor.get() > self.distributed {
            // Without its cursor it would get again what the outbox is about to read.
            destination.stage = Stage::Held;
            if !self.ahead.contains(key) {
                self.ahead.push(key.clone());
            }
        } else {
            self.remove(key);
        }
    }

    /// A destination could not be reached, or refused. It is tried again when it [comes back](Self::came_back). With
    /// [`Retry::Soon`] its extras are kept until then; with [`Retry::After`] its failures are remembered until a
    /// delivery succeeds, also when it has nothing to get. Returns whether it has come back already.
    pub(super) fn failed(&mut self, turn: Turn<K, X>, retry: Retry, now: Duration) -> bool {
        let Turn { key, extras, .. } = turn;
        let Some(destination) = self.destinations.get_mut(&key) else { return false };
        let is_back = destination.stage == (Stage::Delivering { again: true });
        let is_retried = retry == Retry::Soon || is_back;
        let is_remembered = matches!(retry, Retry::After(_)) && !is_back;
        destination.failures = destination.failures.saturating_add(1);
        destination.failing_since.get_or_insert(now);
        destination.extras.put_back(extras);
        if !is_retried {
            destination.extras.drop_ephemeral();
        }
        let is_ahead = destination.cursor.get() > self.distributed;
        let is_needed = destination.is_behind() || is_ahead || destination.extras.is_durable();
        if !is_needed && !destination.extras.is_due() && !is_remembered {
            self.remove(&key);
            return false;
        }
        destination.keep |= is_needed;
        destination.away |= is_needed && !is_retried;
        if is_back {
            destination.stage = Stage::Ready;
            self.ready.of(destination.class).push_back(key);
        } else {
            destination.class = DeliveryClass::Slow;
            destination.stage = if is_retried { Stage::Retried } else { Stage::Failed };
        }
        is_back
    }

    /// Removes a destination that is up to date, or that nothing is to be delivered to.
    pub(super) fn remove(&mut self, key: &K) {
        if self.destinations.remove(key).is_some_and(|destination| destination.stored.is_some()) {
            self.caught_up.push(key.clone());
        }
    }

    /// Forgets the failures of destinations that have had nothing to get since: some of them may not exist any more.
    pub(super) fn forget_idle(&mut self) {
        let distributed = self.distributed;
        let is_idle = |it: &Destination<X>| {
            it.stage == Stage::Held && it.failures > 0 && it.has_nothing_to_get() && it.cursor.get() <= distributed
        };
        let idle = self.destinations.iter().filter(|(_, it)| is_idle(it));
        let idle: Vec<K> = idle.map(|(key, _)| key.clone()).collect();
        idle.iter().for_each(|key| self.remove(key));
    }

    /// A destination that failed is worth trying again: in a fast slot if it is up, in a slow one if it may not be.
    pub(super) fn came_back(&mut self, CameBack { key, is_up }: &CameBack<K>) {
        let distributed = self.distributed;
        let Some(destination) = self.destinations.get_mut(key) else { return };
        destination.extras.came_back();
        if matches!(destination.stage, Stage::Failed | Stage::Held) && destination.has_nothing_to_get() {
            if *is_up && destination.cursor.get() <= distributed {
                self.remove(key);
            } else {
                destination.stage = Stage::Held;
            }
            return;
        }
        let class = match (is_up, destination.stage) {
            (true, _) => DeliveryClass::Fast,
            (false, Stage::Ready | Stage::Held) => destination.class,
            (false, Stage::Delivering { .. } | Stage::Retried | Stage::Failed) => DeliveryClass::Slow,
        };
        let changes_class = std::mem::replace(&mut destination.class, class) != class;
        match &mut destination.stage {
            Stage::Ready if !changes_class => {}
            Stage::Delivering { again } => *again = true,
            Stage::Ready | Stage::Retried | Stage::Failed | Stage::Held => {
                destination.stage = Stage::Ready;
                self.ready.of(class).push_back(key.clone());
            }
        }
    }

    /// A destination is not what it was: it may be up now, and may have lost its cursor in the database.
    pub(super) fn renew(&mut self, key: &K) {
        let Some(destination) = self.destinations.get_mut(key) else { return };
        destination.failures = 0;
        destination.failing_since = None;
        if let Some(stored) = &mut destination.stored {
            // No cursor is equal to it, so that the cursor is written again.
            *stored = Position::MIN;
        }
        self.came_back(&CameBack { key: key.clone(), is_up: true });
    }

    /// Nothing more is delivered in this run. A destination that is behind gets a cursor, so that the others are not
    /// sent anything twice after the restart.
    pub(super) fn close(&mut self) {
        for destination in self.destinations.values_mut() {
            destination.keep |= destination.is_behind();
        }
    }

    /// Returns the progress that the database does not have yet; `None` if it has all. When it cannot be stored it has
    /// to be given to [`Self::not_stored`].
    pub(super) fn progress(&mut self) -> Option<Progress<K>> {
        let caught_up = std::mem::take(&mut self.caught_up);
        let mut progress = Progress { position: self.distributed, behind: Vec::new(), caught_up };
        for (key, destination) in &mut self.destinations {
            let cursor = destination.cursor.get();
            destination.keep |= self.keeps_cursors_of_slow && destination.delays_position && destination.is_behind();
            if !destination.keep {
                // It has no cursor in the database, so that the position has to wait for it.
                if destination.is_behind() {
                    destination.delays_position = true;
                    progress.position = progress.position.min(cursor);
                }
            } else if destination.stored != Some(cursor) {
                destination.stored = Some(cursor);
                progress.behind.push((key.clone(), cursor));
            }
        }
        // One that has caught up and fallen behind again has a cursor again.
        progress.caught_up.retain(|key| self.destinations.get(key).is_none_or(|destination| !destination.keep));
        progress.position = progress.position.max(self.stored);
        let anything = progress.position > self.stored || !progress.behind.is_empty() || !progress.caught_up.is_empty();
        self.stored = progress.position;
        anything.then_some(progress)
    }

    /// [`Self::progress`] could not be stored.
    pub(super) fn not_stored(&mut self, progress: &Progress<K>) {
        self.caught_up.extend(progress.caught_up.iter().cloned());
        for (key, _) in &progress.behind {
            if let Some(destination) = self.destinations.get_mut(key) {
                destination.stored = None;
            }
        }
        self.stored = self.stored.min(progress.position.saturating_sub(1));
    }

    /// Every destination has everything up to here, and the database knows it.
    pub(super) fn delivered_to_all(&self) -> Position {
        let is_done = |destination: &&Destination<X>| destination.stage == Stage::Held && !destination.is_behind();
        let missing = self.destinations.values().filter(|destination| !is_done(destination));
        let slowest = missing.map(|destination| destination.cursor.get()).min();
        slowest.map_or(self.stored, |cursor| cursor.min(self.stored))
    }

    fn entry(&mut self, key: K) -> &mut Destination<X> {
        self.entry_in(DeliveryClass::Fast, key)
    }

    fn entry_in(&mut self, class: DeliveryClass, key: K) -> &mut Destination<X> {
        let distributed = self.distributed;
        self.destinations.entry(key).or_insert_with_key(|key| {
            self.ready.of(class).push_back(key.clone());
            Destination {
                stage: Stage::Ready,
                class,
                cursor: Cursor::new(distributed),
                newest: 0,
                extras: X::default(),
                failures: 0,
                failing_since: None,
                away: false,
                keep: false,
                stored: None,
                delays_position: false,
            }
        })
    }
}

impl<X> Destination<X> {
    /// Whether the log has something for it that it does not have.
    fn is_behind(&self) -> bool {
        self.cursor.get() < self.newest
    }
}

impl<X: Extras> Destination<X> {
    /// Whether it has everything.
    fn has_nothing_to_get(&self) -> bool {
        !self.is_behind() && !self.extras.is_due() && !self.extras.is_durable()
    }

    /// Whether it is only here because it was ahead of the outbox.
    fn is_held_for_nothing(&self) -> bool {
        self.stage == Stage::Held && self.failures == 0 && self.has_nothing_to_get()
    }
}

#[cfg(test)]
mod tests;
