//! The head of a room, on which the next event is built: the committed room with the events that wait to be committed.

use std::sync::Arc;

use crate::model::current_state::CurrentState;
use crate::model::graph_tip::Tip;
use crate::model::room_view::RoomView;

/// The room as the next event extends it.
#[derive(Clone)]
pub(crate) struct Head {
    /// The room's epoch when this head was copied from the committed view.
    pub epoch: u64,
    pub tip: Tip,
    pub current: Arc<CurrentState>,
    /// Whether soft-failed or rejected events may wait to be committed. They leave `tip` and `current` as they are.
    pub hidden: bool,
    /// Whether redactions may wait to be committed. A redaction and its target find each other in the database.
    pub redacting: bool,
}

impl Head {
    /// Returns the head of the committed room.
    pub(crate) fn of(view: &RoomView, epoch: u64) -> Self {
        Self { epoch, tip: view.tip.clone(), current: Arc::clone(&view.current), hidden: false, redacting: false }
    }

    /// Whether no event waits to be committed.
    pub(crate) fn is_committed(&self, view: &RoomView) -> bool {
        !self.hidden && self.tip == view.tip && Arc::ptr_eq(&self.current, &view.current)
    }
}
