//! Following the commits: the one place where memory is brought up to date.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::{Database, OpenError, Options, open};
use crate::Position;
use crate::change::{Change, CommitListener};

/// What the writer and everybody else look at.
pub(crate) struct Shared {
    committed: AtomicI64,
    listeners: RwLock<Vec<Weak<dyn CommitListener>>>,
}

impl Shared {
    pub(super) fn new(committed: Position) -> Self {
        Self { committed: AtomicI64::new(committed), listeners: RwLock::default() }
    }

    pub(super) fn committed(&self) -> Position {
        self.committed.load(Ordering::Acquire)
    }

    /// Brings memory up to date with committed changes, publishes their last position, lets `answer` tell those who
    /// made them, and wakes those who wait for changes.
    pub(super) fn apply(&self, mut changes: Vec<Change>, position: Option<Position>, answer: impl FnOnce()) {
        let listeners: Vec<_> = self.listeners.read().iter().filter_map(Weak::upgrade).collect();
        if !changes.is_empty() {
            let upto = position.unwrap_or_else(|| self.committed());
            for listener in &listeners {
                call(&changes, upto, |changes| listener.apply(changes));
            }
            // Nobody holds what was attached when the answer comes.
            changes.iter_mut().for_each(Change::detach);
        }
        if let Some(position) = position {
            self.committed.fetch_max(position, Ordering::AcqRel);
        }
        answer();
        if position.is_some() || !changes.is_empty() {
            let position = position.unwrap_or_else(|| self.committed());
            for listener in &listeners {
                call(&changes, position, |changes| listener.published(position, changes));
            }
        }
    }
}

impl Database {
    /// Opens a database that another process writes to, to read it and to follow its log: see
    /// [`follow`](fn@crate::follow). Every write fails with [`DbError::Closed`](super::DbError::Closed). Blocks.
    ///
    /// # Errors
    /// When the database cannot be opened, or its schema is not this program's.
    pub fn open_follower(options: &Options) -> Result<Self, OpenError> {
        let position = open::inspect(options, |conn| conn.position())?;
        let (writer, _) = mpsc::channel(1);
        Self::start(options, Arc::new(Shared::new(position)), writer, Vec::new())
    }

    /// Brings memory up to date with changes that another process has committed: all those at or before a position.
    pub fn apply(&self, changes: Vec<Change>, upto: Position) {
        self.0.shared.apply(changes, Some(upto), || {});
    }

    /// Returns the position up to which everything is committed and applied to memory.
    pub fn committed(&self) -> Position {
        self.0.shared.committed()
    }

    /// Adds a listener, which is called after those added before it, for as long as somebody holds it. It misses the
    /// commits made before this call.
    pub fn add_listener<L: CommitListener + 'static>(&self, listener: &Arc<L>) {
        let listener: Weak<dyn CommitListener> = Arc::<L>::downgrade(listener);
        let mut listeners = self.0.shared.listeners.write();
        listeners.retain(|other| other.strong_count() > 0);
        listeners.push(listener);
    }
}

/// Calls a listener. A panic must not end the writer: a listener that panics may have applied a part of the changes,
/// and is called again as one that has missed them.
fn call(changes: &[Change], upto: Position, listener: impl Fn(&[Change])) {
    if catch_unwind(AssertUnwindSafe(|| listener(changes))).is_ok() {
        return;
    }
    tracing::error!("a commit listener panicked; what it holds in memory is read again");
    // All erased users are in memory: nobody reads them again.
    let erased = changes.iter().filter(|change| matches!(change, Change::Erased { .. })).cloned();
    let missed: Vec<Change> = std::iter::once(Change::Missed { position: upto }).chain(erased).collect();
    if catch_unwind(AssertUnwindSafe(|| listener(&missed))).is_err() {
        tracing::error!("a commit listener panicked again; memory may lag behind the database");
    }
}
