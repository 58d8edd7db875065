//! The newest receipts of each room, in memory: a receipt in a room with many waiting members is read once, not by
//! each.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_store::repo::receipts::Receipt;
use plexus_store::{Position, RoomNid};

/// The most receipts of a room that are kept.
const MAX_RECEIPTS_PER_ROOM: usize = 64;
/// The most rooms with receipts in memory; above it the log starts afresh.
const MAX_ROOMS: usize = 20_000;

/// The newest receipts. Owned by this process: it follows the commits.
pub(super) struct ReceiptLog(Mutex<Inner>);

struct Inner {
    rooms: HashMap<RoomNid, RoomLog>,
    /// A room that is not in `rooms` had no receipt after this.
    complete_after: Position,
    newest: Position,
}

struct RoomLog {
    /// Every receipt after this is in `receipts`.
    complete_after: Position,
    receipts: VecDeque<Arc<Receipt>>,
}

impl ReceiptLog {
    pub(super) fn new(committed: Position) -> Self {
        Self(Mutex::new(Inner { rooms: HashMap::new(), complete_after: committed, newest: committed }))
    }

    /// Forgets all: what was committed at or before a position is read from the database.
    pub(super) fn restart(&self, position: Position) {
        *self.0.lock() = Inner { rooms: HashMap::new(), complete_after: position, newest: position };
    }

    /// Adds a receipt that is newer than all that are here; another one is here already.
    pub(super) fn push(&self, receipt: &Arc<Receipt>) {
        let mut inner = self.0.lock();
        if receipt.position <= inner.newest {
            return;
        }
        if inner.rooms.len() > MAX_ROOMS {
            inner.rooms.clear();
            inner.complete_after = inner.newest;
        }
        inner.newest = receipt.position;
        let complete_after = inner.complete_after;
        let room =
            inner.rooms.entry(receipt.room).or_insert_with(|| RoomLog { complete_after, receipts: VecDeque::new() });
        if room.receipts.len() == MAX_RECEIPTS_PER_ROOM
            && let Some(oldest) = room.receipts.pop_front()
        {
            room.complete_after = oldest.position;
        }
        room.receipts.push_back(Arc::clone(receipt));
    }

    /// Returns the receipts after `since` and at or before `upto`, of each user, type and thread the last; `None` when
    /// memory does not reach back that far.
    pub(super) fn range(&self, room: RoomNid, since: Position, upto: Position) -> Option<Vec<Arc<Receipt>>> {
        let inner = self.0.lock();
        let Some(room) = inner.rooms.get(&room) else {
            return (since >= inner.complete_after).then(Vec::new);
        };
        if since < room.complete_after {
            return None;
        }
        let mut seen = HashSet::new();
        let within = room.receipts.iter().rev().filter(|it| it.position > since && it.position <= upto);
        Some(within.filter(move |it| seen.insert((&it.user, &it.receipt_type, &it.thread_id))).cloned().collect())
    }
}
