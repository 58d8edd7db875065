//! Limits how often the receipts of a room are sent: in a room with many servers each receipt is many transactions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use plexus_store::RoomNid;

use super::ephemeral::OutgoingReceipt;

/// The most receipts of a room that wait; then the oldest is dropped.
const MAX_WAITING: usize = 1_000;

/// The rooms whose receipts were sent a moment ago, or wait.
pub(super) struct ReceiptThrottle {
    /// The receipts of a room that are sent in a second, counted by servers.
    per_second: u32,
    rooms: HashMap<RoomNid, RoomReceipts>,
}

struct RoomReceipts {
    /// When receipts may be sent again, on the monotonic clock.
    free_at: Duration,
    waiting: Vec<Arc<OutgoingReceipt>>,
}

impl ReceiptThrottle {
    /// Allows `per_second` receipts of each room in a second, if one server gets them.
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.max(1), rooms: HashMap::new() }
    }

    /// Adds a receipt. Only the last of each user and thread is sent.
    pub(super) fn add(&mut self, room: RoomNid, receipt: Arc<OutgoingReceipt>) {
        let entry =
            self.rooms.entry(room).or_insert_with(|| RoomReceipts { free_at: Duration::ZERO, waiting: Vec::new() });
        entry.waiting.retain(|other| (&other.user, &other.thread) != (&receipt.user, &receipt.thread));
        if entry.waiting.len() >= MAX_WAITING {
            entry.waiting.remove(0);
        }
        entry.waiting.push(receipt);
    }

    /// Removes and returns the receipts that may be sent now, by room. `servers` returns how many servers are in a
    /// room.
    pub(super) fn due(
        &mut self,
        now: Duration,
        servers: impl Fn(RoomNid) -> usize,
    ) -> Vec<(RoomNid, Vec<Arc<OutgoingReceipt>>)> {
        self.rooms.retain(|_, entry| !entry.waiting.is_empty() || entry.free_at > now);
        let mut due = Vec::new();
        for (room, entry) in &mut self.rooms {
            if entry.free_at <= now && !entry.waiting.is_empty() {
                let servers = u32::try_from(servers(*room)).unwrap_or(u32::MAX);
                entry.free_at = now + Duration::from_secs(1) * servers / self.per_second;
                due.push((*room, std::mem::take(&mut entry.waiting)));
            }
        }
        due
    }

    /// Returns how long until waiting receipts may be sent; `None` when there are none.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        let waiting = self.rooms.values().filter(|entry| !entry.waiting.is_empty());
        waiting.map(|entry| entry.free_at.saturating_sub(now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_of_a_room_with_many_servers_are_sent_less_often() {
        let receipt = |event: &str| {
            let (room, user, thread) = ("!r".to_owned(), "@u:x".to_owned(), String::new());
            Arc::new(OutgoingReceipt { room, user, event: event.to_owned(), thread, ts: 1 })
        };
        let mut throttle = ReceiptThrottle::new(50);
        throttle.add(1, receipt("$1"));
        assert_eq!(throttle.due(Duration::ZERO, |_| 100).len(), 1);
        throttle.add(1, receipt("$2"));
        throttle.add(1, receipt("$3"));
        assert!(throttle.due(Duration::from_secs(1), |_| 100).is_empty());
        assert_eq!(throttle.wait(Duration::from_secs(1)), Some(Duration::from_secs(1)));
        let due = throttle.due(Duration::from_secs(2), |_| 100);
        assert_eq!(due[0].1.iter().map(|it| it.event.as_str()).collect::<Vec<_>>(), ["$3"]);
        assert_eq!(throttle.wait(Duration::from_secs(2)), None);
    }
}
