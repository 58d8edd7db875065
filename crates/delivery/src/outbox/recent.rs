//! The newest entries of the log in memory, each once, with the destinations that get it.

use std::collections::VecDeque;

use plexus_store::Position;

use super::kind::{Content, Recipients};
use super::values::{Due, LogEntry};

/// The most entries that are kept; a destination that is further behind is served from the database.
const MAX_ENTRIES: usize = 8_192;
/// The most memory that the entries may use, in bytes.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The newest entries. Owned by the process that delivers.
pub(super) struct Recent<C, R> {
    entries: VecDeque<LogEntry<C, R>>,
    bytes: usize,
    /// Every entry after this is here.
    after: Position,
}

impl<C: Content, R> Recent<C, R> {
    pub(super) fn new(after: Position) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, after }
    }

    pub(super) fn push(&mut self, entry: LogEntry<C, R>) {
        self.bytes += entry.content.bytes();
        self.entries.push_back(entry);
        while (self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES)
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.content.bytes());
            self.after = oldest.position;
        }
    }

    /// Returns the entries after `after` up to `upto` that a destination gets, at most `limit`; `None` when some may be
    /// missing.
    pub(super) fn due<K>(&self, key: &K, after: Position, upto: Position, limit: usize) -> Option<Due<C>>
    where
        R: Recipients<K>,
    {
        if after < self.after {
            return None;
        }
        let start = self.entries.partition_point(|entry| entry.position <= after);
        let within = self.entries.range(start..).take_while(|entry| entry.position <= upto);
        let due = within.filter(|entry| entry.recipients.contains(key)).take(limit);
        let entries: Vec<_> = due.map(|entry| (entry.position, entry.content.clone())).collect();
        let upto = match entries.last() {
            Some((last, _)) if entries.len() == limit => *last,
            _ => upto,
        };
        Some(Due { entries, upto })
    }
}
