//! The parts that a kind of destination implements: reading the log for its destinations, and delivering to one of
//! them.

use std::error::Error;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use plexus_store::{DbError, Position};

use super::values::{CameBack, Cursors, Due, LogChunk, Outcome, Progress, Turn};

/// A kind of destination: other servers, application services, push gateways, ...
pub trait DestinationKind: Send + Sync + 'static {
    /// Identifies a destination.
    type Key: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static;
    /// The content of an entry of the log.
    type Content: Content;
    /// The destinations that get an entry of the log.
    type Recipients: Recipients<Self::Key>;
    /// The data that is delivered besides the log.
    type Extras: Extras;

    /// The most entries that one delivery can take.
    const MAX_DUE: usize;
    /// The destinations' name in log messages.
    const DESTINATIONS: &'static str;
    /// Whether a destination for which the position of the outbox has waited gets a cursor of its own, although it has
    /// not failed: after a crash, the others are sent less of what they have. For kinds to which repetitions matter.
    const KEEPS_CURSORS_OF_SLOW: bool = false;

    /// Reads the cursors that the last run of the program stored.
    fn load_cursors(&self) -> impl Future<Output = Result<Cursors<Self::Key, Self::Extras>, DbError>> + Send;

    /// Stores the progress.
    fn store_progress(&self, progress: Arc<Progress<Self::Key>>) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Deletes what only serves delivery: every destination has everything up to `delivered`. `distributed` is how far
    /// the log has been read.
    fn forget_delivered(
        &self,
        _delivered: Position,
        _distributed: Position,
    ) -> impl Future<Output = Result<(), DbError>> + Send {
        async { Ok(()) }
    }

    /// Returns the position of the last commit.
    fn committed(&self) -> Position;

    /// Reads the log after `after` up to `upto`, or less of it, and finds out who gets each entry.
    fn read_log(
        &self,
        after: Position,
        upto: Position,
    ) -> impl Future<Output = Result<LogChunk<Self::Content, Self::Recipients>, DbError>> + Send;

    /// Reads what one destination gets after `after` up to `upto`, or less of it. Used when memory does not reach back
    /// so far, or the destination was away and has missed much: then it may get a summary.
    fn catch_up(
        &self,
        key: &Self::Key,
        after: Position,
        upto: Position,
    ) -> impl Future<Output = Result<Due<Self::Content>, DbError>> + Send;

    /// Whether anything may be delivered to a destination at all.
    fn is_allowed(&self, _key: &Self::Key) -> bool {
        true
    }

    /// Checks, before a delivery is prepared, whether it can be made now; otherwise returns its outcome.
    ///
    /// # Errors
    /// The outcome.
    fn check(&self, _key: &Self::Key) -> Result<(), Outcome<Self::Extras>> {
        Ok(())
    }

    /// Delivers to one destination what is due, and of the turn's extras what fits.
    fn deliver(
        &self,
        turn: &Turn<Self::Key, Self::Extras>,
        due: Due<Self::Content>,
    ) -> impl Future<Output = Outcome<Self::Extras>> + Send;

    /// Returns the outcome of a delivery that failed.
    fn failed(&self, key: &Self::Key, error: Box<dyn Error + Send + Sync>) -> Outcome<Self::Extras>;

    /// Waits for the next destination that is worth trying again. A kind whose failures are all [`super::Retry::After`]
    /// waits for ever.
    fn came_back(&self) -> impl Future<Output = CameBack<Self::Key>> + Send {
        std::future::pending()
    }
}

/// The content of an entry of the log for a destination.
pub trait Content: Clone + Send + Sync + 'static {
    /// Its size in memory, in bytes, roughly.
    fn bytes(&self) -> usize;
}

/// The destinations that get an entry of the log.
pub trait Recipients<K>: Send + Sync + 'static {
    /// Whether a destination is among them.
    fn contains(&self, key: &K) -> bool;

    /// Returns all of them.
    fn keys(&self) -> Vec<K>;
}

/// The data that a destination gets besides the log: rows of a queue of its own, and data that is only in memory.
pub trait Extras: Default + Send + Sync + 'static {
    /// Whether there is something that can be delivered now.
    fn is_due(&self) -> bool;

    /// Whether there is something that must not be lost.
    fn is_durable(&self) -> bool;

    /// Takes out what the next delivery carries.
    fn take(&mut self) -> Self;

    /// Puts back what a delivery did not bring to the destination, before what was added meanwhile.
    fn put_back(&mut self, taken: Self);

    /// A delivery succeeded. `remaining` is what it did not carry.
    fn delivered(&mut self, remaining: Self) {
        self.put_back(remaining);
    }

    /// Drops what may be lost: the destination has failed.
    fn drop_ephemeral(&mut self);

    /// The destination, which had failed or refused something, is tried again.
    fn came_back(&mut self) {}
}

/// Nothing beside the log.
impl Extras for () {
    fn is_due(&self) -> bool {
        false
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn take(&mut self) -> Self {}

    fn put_back(&mut self, (): Self) {}

    fn drop_ephemeral(&mut self) {}
}
