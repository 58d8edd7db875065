//! What a room's writer builds the next event on: the committed room plus what is on its way to the database.

use std::sync::Arc;

use crate::model::current_state::CurrentState;
use crate::model::graph_tip::Tip;
use crate::model::room_view::RoomView;

/// The room as the next event sees it.
#[derive(Clone)]
pub(crate) struct Head {
    /// The room's epoch when this head was taken from the committed view.
    pub epoch: u64,
    pub tip: Tip,
    pub current: Arc<CurrentState>,
    /// Whether events that are shown to nobody, and leave the rest as it is, may be on their way to the database.
    pub hidden: bool,
    /// Whether redactions may be on their way to the database, where they and what they redact find each other.
    pub redacting: bool,
}

impl Head {
    /// The committed room.
    pub(crate) fn of(view: &RoomView, epoch: u64) -> Self {
        Self { epoch, tip: view.tip.clone(), current: Arc::clone(&view.current), hidden: false, redacting: false }
    }

    /// Whether nothing that it is made of is on its way to the database.
    pub(crate) fn is_committed(&self, view: &RoomView) -> bool {
        !self.hidden && self.tip == view.tip && Arc::ptr_eq(&self.current, &view.current)
    }
}
