//! A memory of positions that follows the commits.

use parking_lot::Mutex;
use plexus_store::{Change, CommitListener, Position};

/// The positions of the changes that were applied, in their order.
#[derive(Default)]
pub struct Applied(Mutex<Vec<Position>>);

impl Applied {
    pub fn positions(&self) -> Vec<Position> {
        self.0.lock().clone()
    }
}

impl CommitListener for Applied {
    fn apply(&self, changes: &[Change]) {
        self.0.lock().extend(changes.iter().map(Change::position));
    }
}

/// A change of some room.
pub fn change(position: Position) -> Change {
    Change::Event { room: 1, position, outgoing: false }
}
