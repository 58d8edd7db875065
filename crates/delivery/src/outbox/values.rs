//! The values that an outbox and a kind of destination exchange.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use plexus_store::Position;
use tokio::sync::Notify;

/// A destination that does not stand where the outbox does.
pub struct Behind<K> {
    /// Which one.
    pub key: K,
    /// It has everything up to here.
    pub cursor: Position,
    /// Its cursor in the database, if that has one.
    pub stored: Option<Position>,
    /// It failed before the restart.
    pub away: bool,
}

/// One delivery to make.
pub struct Turn<K, X> {
    /// The destination.
    pub key: K,
    /// It has everything up to here.
    pub cursor: Position,
    /// It gets the content of the log up to here.
    pub upto: Position,
    /// The data that it gets besides the log.
    pub extras: X,
    /// How often it has failed in a row.
    pub failures: u32,
    /// For how long it has failed, in this run of the program.
    pub failing_for: Option<Duration>,
    /// It failed, and has not caught up since.
    pub was_away: bool,
    pub(super) cursor_now: Cursor,
    pub(super) progressed: Arc<Notify>,
}

impl<K, X> Turn<K, X> {
    /// Notes that the destination has everything up to here: this is not delivered again, however the turn ends.
    pub fn reached(&self, position: Position) {
        self.cursor_now.raise(position);
        self.progressed.notify_one();
    }
}

/// Up to where a destination has everything. Clones are the same cursor.
#[derive(Debug, Clone)]
pub(super) struct Cursor(Arc<AtomicI64>);

impl Cursor {
    pub(super) fn new(position: Position) -> Self {
        Self(Arc::new(AtomicI64::new(position)))
    }

    pub(super) fn get(&self) -> Position {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, position: Position) {
        self.0.store(position, Ordering::Release);
    }

    pub(super) fn raise(&self, position: Position) {
        self.0.fetch_max(position, Ordering::AcqRel);
    }
}

/// A destination that is worth trying again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameBack<K> {
    /// Which one.
    pub key: K,
    /// Whether it is known to be up. Otherwise it was only left alone for long enough.
    pub is_up: bool,
}

/// Progress that the database does not have yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Progress<K> {
    /// The destinations that have no cursor in the database have everything up to here.
    pub position: Position,
    /// Cursors to be stored.
    pub behind: Vec<(K, Position)>,
    /// Cursors to be deleted.
    pub caught_up: Vec<K>,
}

/// An entry of the log, with the destinations that get it.
pub struct LogEntry<C, R> {
    /// Its position.
    pub position: Position,
    /// The content for the destinations.
    pub content: C,
    /// Which destinations get it.
    pub recipients: R,
}

/// Where the last run of the program stopped.
pub struct Cursors<K, X> {
    /// The destinations that are not named below have everything up to here.
    pub position: Position,
    /// The destinations that are behind.
    pub behind: Vec<Behind<K>>,
    /// The data that waits for destinations besides the log.
    pub extras: Vec<(K, X)>,
}

/// A part of the log.
pub struct LogChunk<C, R> {
    /// Oldest first.
    pub entries: Vec<LogEntry<C, R>>,
    /// Where the part ends.
    pub upto: Position,
}

/// The content of the log for one destination.
pub struct Due<C> {
    /// Oldest first.
    pub entries: Vec<(Position, C)>,
    /// There is nothing else for the destination up to here.
    pub upto: Position,
}

/// The outcome of a delivery.
pub enum Outcome<X> {
    /// The destination has everything up to `cursor`. `remaining` are the extras that the delivery did not carry.
    Delivered {
        /// The destination's new cursor.
        cursor: Position,
        /// To be delivered next.
        remaining: X,
    },
    /// The delivery is repeated, with `extras` for those of the turn. After `pause` the destination counts as
    /// having come back.
    Repeat {
        /// For the next delivery.
        extras: X,
        /// Not a wait before the repetition.
        pause: Option<Duration>,
    },
    /// The destination could not be reached, or refused.
    Failed {
        /// For the log.
        error: Box<dyn Error + Send + Sync>,
        /// When it is tried again.
        retry: Retry,
    },
    /// Nothing is to be delivered to the destination.
    Abandoned,
}

/// When a destination that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// [`came_back`](super::DestinationKind::came_back) will return it, within minutes. Until then nothing is dropped.
    Soon,
    /// [`came_back`](super::DestinationKind::came_back) will return it.
    Later,
    /// The outbox tries again after this time.
    After(Duration),
}

impl Retry {
    /// After `first`, twice as long for each of the `failures` before, up to `max`.
    #[must_use]
    pub fn backoff(failures: u32, first: Duration, max: Duration) -> Self {
        Self::After(first.saturating_mul(1 << failures.min(16)).min(max))
    }
}
