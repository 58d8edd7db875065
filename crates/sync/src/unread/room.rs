//! The unread counts of one user in one room.

use std::collections::{BTreeMap, HashMap, VecDeque};

use plexus_rooms::relations::MAIN_THREAD;
use plexus_rooms::timeline::Stay;
use plexus_store::Position;
use serde::{Deserialize, Serialize};

/// The most notifying events that are kept one by one; older ones are only counted.
const MAX_EVENTS: usize = 1_000;

/// Notifications and, among them, highlights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Events that notify, highlights included.
    pub notifications: u64,
    /// Events that notify with emphasis.
    pub highlights: u64,
}

impl Count {
    fn add(&mut self, highlight: bool) {
        self.notifications += 1;
        self.highlights += u64::from(highlight);
    }

    /// The sum of two counts.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { notifications: self.notifications + other.notifications, highlights: self.highlights + other.highlights }
    }
}

/// A user's unread counts in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomCounts {
    /// Outside threads.
    pub main: Count,
    /// By the thread's root; threads without notifications are absent.
    pub threads: BTreeMap<String, Count>,
}

impl RoomCounts {
    /// Threads included.
    #[must_use]
    pub fn total(&self) -> Count {
        self.threads.values().fold(self.main, |sum, count| sum.plus(*count))
    }
}

/// Up to where a user has read a room.
#[derive(Debug, Default)]
pub(super) struct ReadUpTo {
    /// Receipts without a thread: everything at or before is read.
    pub unthreaded: Position,
    /// By thread, `main` for outside threads.
    threads: HashMap<String, Position>,
}

impl ReadUpTo {
    pub(super) fn raise(&mut self, thread_id: &str, at: Position) {
        let position = match thread_id {
            "" => &mut self.unthreaded,
            thread => self.threads.entry(thread.to_owned()).or_default(),
        };
        *position = at.max(*position);
    }

    pub(super) fn covers(&self, thread: Option<&str>, position: Position) -> bool {
        let read = self.threads.get(thread.unwrap_or(MAIN_THREAD)).copied().unwrap_or(0);
        position <= read.max(self.unthreaded)
    }
}

/// Notifying events after a user's receipts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct RoomUnread {
    #[serde(skip)]
    evaluated_to: Position,
    /// Oldest first.
    events: VecDeque<Notifying>,
    /// By thread: events that were too many to keep, all at or before `summed_to`.
    summed: BTreeMap<String, Count>,
    summed_to: Position,
    /// The room's count of redactions that the events have been compared with; 0 after a restart.
    #[serde(skip)]
    redactions: u64,
    /// The user's stay in the room that the events are from; the default after a restart.
    #[serde(skip)]
    stay: Stay,
}

#[derive(Debug, Serialize, Deserialize)]
struct Notifying {
    position: Position,
    thread: Option<Box<str>>,
    highlight: bool,
}

impl RoomUnread {
    /// Begins to count after a position. `redactions` is the room's count of redactions now.
    pub(super) fn starting_after(position: Position, redactions: u64) -> Self {
        Self { evaluated_to: position, redactions, ..Self::default() }
    }

    /// The stay that the events are from.
    pub(super) fn stay(&self) -> Stay {
        self.stay
    }

    /// Leaves out what does not belong to a stay.
    pub(super) fn begin_stay(&mut self, stay: Stay) {
        if !self.read("", stay.since) {
            *self = Self::starting_after(stay.since, self.redactions);
        }
        self.stay = stay;
    }

    /// Whether nothing is counted.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.summed.is_empty()
    }

    /// The room's count of redactions that the events have been compared with.
    pub(super) fn redactions(&self) -> u64 {
        self.redactions
    }

    /// Notes a room's count of redactions. Returns whether it has changed: events may have been redacted since they
    /// were counted.
    pub(super) fn note_redactions(&mut self, redactions: u64) -> bool {
        std::mem::replace(&mut self.redactions, redactions) != redactions
    }

    pub(super) fn from_checkpoint(evaluated_to: Position, counts: &str) -> Option<Self> {
        serde_json::from_str(counts).ok().map(|unread| Self { evaluated_to, ..unread })
    }

    pub(super) fn to_checkpoint(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn evaluated_to(&self) -> Position {
        self.evaluated_to
    }

    pub(super) fn advance(&mut self, position: Position) {
        self.evaluated_to = position.max(self.evaluated_to);
    }

    pub(super) fn add(&mut self, position: Position, thread: Option<&str>, highlight: bool) {
        if self.events.len() == MAX_EVENTS
            && let Some(oldest) = self.events.pop_front()
        {
            let thread = oldest.thread.as_deref().unwrap_or(MAIN_THREAD);
            self.summed.entry(thread.to_owned()).or_default().add(oldest.highlight);
            self.summed_to = oldest.position;
        }
        self.events.push_back(Notifying { position, thread: thread.map(Into::into), highlight });
    }

    /// Returns the positions of the events that are kept one by one.
    pub(super) fn positions(&self) -> Vec<Position> {
        self.events.iter().map(|event| event.position).collect()
    }

    /// Events that were redacted notify no longer.
    pub(super) fn forget(&mut self, positions: &[Position]) {
        self.events.retain(|event| !positions.contains(&event.position));
    }

    /// Applies a receipt. Returns false when it lies among events that are only counted.
    pub(super) fn read(&mut self, thread_id: &str, at: Position) -> bool {
        let summed = match thread_id {
            "" => !self.summed.is_empty(),
            thread => self.summed.contains_key(thread),
        };
        if summed && at < self.summed_to {
            return false;
        }
        match thread_id {
            "" => {
                self.summed.clear();
                self.events.retain(|event| event.position > at);
                // Everything up to the receipt is read, evaluated or not.
                self.advance(at);
            }
            thread => {
                self.summed.remove(thread);
                let read = |event: &Notifying| {
                    event.position <= at && event.thread.as_deref().unwrap_or(MAIN_THREAD) == thread
                };
                self.events.retain(|event| !read(event));
            }
        }
        true
    }

    pub(super) fn counts(&self) -> RoomCounts {
        let mut counts = RoomCounts::default();
        for (thread, count) in &self.summed {
            match thread.as_str() {
                MAIN_THREAD => counts.main = *count,
                thread => _ = counts.threads.insert(thread.to_owned(), *count),
            }
        }
        for event in &self.events {
            match &event.thread {
                None => counts.main.add(event.highlight),
                Some(thread) => match counts.threads.get_mut(&**thread) {
                    Some(count) => count.add(event.highlight),
                    None => counts.threads.entry(thread.to_string()).or_default().add(event.highlight),
                },
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(notifications: u64, highlights: u64) -> Count {
        Count { notifications, highlights }
    }

    #[test]
    fn a_receipt_reads_its_thread_and_an_unthreaded_one_everything() {
        let mut unread = RoomUnread::starting_after(0, 1);
        unread.add(1, None, false);
        unread.add(2, Some("$t"), true);
        unread.add(3, None, true);
        unread.add(4, Some("$t"), false);
        assert_eq!(unread.counts().main, count(2, 1));
        assert_eq!(unread.counts().total(), count(4, 2));
        assert!(unread.read(MAIN_THREAD, 3));
        assert_eq!(unread.counts().main, count(0, 0));
        assert!(unread.read("$t", 2));
        assert_eq!(unread.counts().threads, [("$t".to_owned(), count(1, 0))].into());
        assert!(unread.read("", 4));
        assert_eq!(unread.counts(), RoomCounts::default());
    }

    #[test]
    fn many_events_are_counted_and_a_receipt_among_the_summed_ones_starts_afresh() {
        let mut unread = RoomUnread::starting_after(0, 1);
        (1..=1_500).for_each(|position| unread.add(position, None, position % 2 == 0));
        assert_eq!(unread.counts().main, count(1_500, 750));
        assert!(!unread.read("", 499));
        assert!(unread.read("", 500));
        assert_eq!(unread.counts().main, count(1_000, 500));
    }

    #[test]
    fn what_came_before_a_stay_is_not_counted() {
        for events in [10, 1_500] {
            let mut unread = RoomUnread::starting_after(0, 1);
            (1..=events).for_each(|position| unread.add(position, None, true));
            unread.begin_stay(Stay { member: 9, since: 8 });
            if events == 10 {
                assert_eq!(unread.counts().main, count(2, 2));
            } else {
                // Those after it were only counted: they are evaluated again.
                assert_eq!((unread.counts().main, unread.evaluated_to()), (count(0, 0), 8));
            }
            assert_eq!(unread.stay(), Stay { member: 9, since: 8 });
            unread.begin_stay(Stay { member: 2_000, since: 2_000 });
            assert!(unread.is_empty() && unread.evaluated_to() == 2_000);
        }
    }

    #[test]
    fn checkpoints_come_back() {
        let mut unread = RoomUnread::starting_after(0, 1);
        (1..=1_200).for_each(|position| unread.add(position, (position % 3 == 0).then_some("$t"), false));
        let back = RoomUnread::from_checkpoint(1_200, &unread.to_checkpoint()).expect("a checkpoint");
        assert_eq!(back.counts(), unread.counts());
        assert_eq!(back.evaluated_to(), 1_200);
        assert!(RoomUnread::from_checkpoint(1, "nonsense").is_none());
    }

    #[test]
    fn receipts_cover_later_evaluations() {
        let mut read = ReadUpTo::default();
        read.raise("$t", 5);
        assert!(read.covers(Some("$t"), 5) && !read.covers(Some("$t"), 6) && !read.covers(None, 1));
        read.raise("", 7);
        read.raise("", 6);
        assert!(read.covers(Some("$t"), 7) && read.covers(None, 7) && !read.covers(None, 8));
    }
}
