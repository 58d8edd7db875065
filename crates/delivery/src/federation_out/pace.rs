//! How fast receipts go out: in a room with many servers each receipt is many transactions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use plexus_store::RoomNid;

use super::ephemeral::OutgoingReceipt;

/// How many receipts of a room wait; then the oldest is lost.
const WAITING: usize = 1_000;

/// The rooms that have had receipts a moment ago.
pub(super) struct Pace {
    per_second: u32,
    rooms: HashMap<RoomNid, Lane>,
}

struct Lane {
    /// When receipts may be sent again, on the monotonic clock.
    free_at: Duration,
    waiting: Vec<Arc<OutgoingReceipt>>,
}

impl Pace {
    /// Each room may be told `per_second` times a second to one server each.
    pub fn new(per_second: u32) -> Self {
        Self { per_second: per_second.max(1), rooms: HashMap::new() }
    }

    /// A receipt is to be told when its room's turn comes. Of each user and thread the last is told.
    pub fn add(&mut self, room: RoomNid, receipt: Arc<OutgoingReceipt>) {
        let lane = self.rooms.entry(room).or_insert_with(|| Lane { free_at: Duration::ZERO, waiting: Vec::new() });
        lane.waiting.retain(|other| (&other.user, &other.thread) != (&receipt.user, &receipt.thread));
        if lane.waiting.len() >= WAITING {
            lane.waiting.remove(0);
        }
        lane.waiting.push(receipt);
    }

    /// The rooms whose receipts may be told now, with them; `servers` answers how many servers are in a room.
    pub fn due(
        &mut self,
        now: Duration,
        servers: impl Fn(RoomNid) -> usize,
    ) -> Vec<(RoomNid, Vec<Arc<OutgoingReceipt>>)> {
        self.rooms.retain(|_, lane| !lane.waiting.is_empty() || lane.free_at > now);
        let mut due = Vec::new();
        for (room, lane) in &mut self.rooms {
            if lane.free_at <= now && !lane.waiting.is_empty() {
                let servers = u32::try_from(servers(*room)).unwrap_or(u32::MAX);
                lane.free_at = now + Duration::from_secs(1) * servers / self.per_second;
                due.push((*room, std::mem::take(&mut lane.waiting)));
            }
        }
        due
    }

    /// How long until a room's turn comes for which receipts wait.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let waiting = self.rooms.values().filter(|lane| !lane.waiting.is_empty());
        waiting.map(|lane| lane.free_at.saturating_sub(now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_with_many_servers_is_told_less_often() {
        let receipt = |event: &str| {
            let (room, user, thread) = ("!r".to_owned(), "@u:x".to_owned(), String::new());
            Arc::new(OutgoingReceipt { room, user, event: event.to_owned(), thread, ts: 1 })
        };
        let mut pace = Pace::new(50);
        pace.add(1, receipt("$1"));
        assert_eq!(pace.due(Duration::ZERO, |_| 100).len(), 1);
        pace.add(1, receipt("$2"));
        pace.add(1, receipt("$3"));
        assert!(pace.due(Duration::from_secs(1), |_| 100).is_empty());
        assert_eq!(pace.wait(Duration::from_secs(1)), Some(Duration::from_secs(1)));
        let due = pace.due(Duration::from_secs(2), |_| 100);
        assert_eq!(due[0].1.iter().map(|it| it.event.as_str()).collect::<Vec<_>>(), ["$3"]);
        assert_eq!(pace.wait(Duration::from_secs(2)), None);
    }
}
