//! The immutable view of a room that readers hold.

use std::ops::Deref;
use std::sync::Arc;

use plexus_protocol::id::EventId;
use plexus_protocol::rules::RoomVersion;
use plexus_store::Position;
use plexus_store::repo::partial_joins::PartialJoin;

use crate::model::current_state::{self, CurrentState};
use crate::model::gaps::Gaps;
use crate::model::graph_tip::Tip;
use crate::model::state_map::StateMap;
use crate::model::timeline_event::TimelineEvent;

/// A room at one revision. Derefs to its [`CurrentState`].
#[derive(Clone)]
pub struct RoomView {
    /// The position of the newest timeline event.
    pub position: Position,
    /// The end of the graph.
    pub tip: Tip,
    /// The current state, and values derived from it.
    pub current: Arc<CurrentState>,
    /// All timeline events with a position above `recent_after`, newest last.
    pub recent: Arc<[Arc<TimelineEvent>]>,
    /// See `recent`. 0 if `recent` begins with the room's first event.
    pub recent_after: Position,
    /// The position of the newest change of the current state by state resolution or by a join, instead of by the event
    /// at that position; 0 if there was none since `recent_after`.
    pub(crate) resolved: Position,
    /// The gaps of the timeline. `recent` begins after the newest of them.
    pub gaps: Gaps,
    /// Set if this server joined the room with partial state.
    pub(crate) partial: Option<Arc<PartialJoin>>,
}

impl Deref for RoomView {
    type Target = CurrentState;

    fn deref(&self) -> &CurrentState {
        &self.current
    }
}

impl RoomView {
    /// Returns the view of a room that has no events yet.
    pub(crate) fn empty(version: RoomVersion) -> Self {
        Self {
            position: 0,
            tip: Tip::empty(),
            current: Arc::new(current_state::current_state(version, StateMap::default(), "")),
            recent: Arc::new([]),
            recent_after: 0,
            resolved: 0,
            gaps: Gaps::default(),
            partial: None,
        }
    }

    /// Returns the position of the newest change of the timeline or of the current state.
    #[must_use]
    pub fn changed_at(&self) -> Position {
        self.position.max(self.resolved)
    }

    /// Whether state resolution, or a join, has changed the current state since a position: then the state events of
    /// the timeline are not all changes.
    #[must_use]
    pub fn was_resolved_since(&self, position: Position) -> bool {
        self.resolved > position
    }

    /// Whether the room is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.state.get("m.room.encryption", "").is_some()
    }

    /// Whether part of the room's state is missing, mostly member events. Events of other servers are not judged
    /// meanwhile.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial.as_ref().is_some_and(|join| join.full_position.is_none())
    }

    /// Returns the position since which clients see the room; `None` if they do not see it yet. `lazily`: for clients
    /// that load members lazily.
    #[must_use]
    pub fn visible_from(&self, lazily: bool) -> Option<Position> {
        match &self.partial {
            None => Some(0),
            Some(join) if lazily => join.visible_position,
            Some(join) => join.full_position,
        }
    }

    /// Whether other servers are in the room and this one is not: its state is old, or came with an invite. A room that
    /// everybody has left is still resident here.
    #[must_use]
    pub fn is_out_of_band(&self) -> bool {
        self.local_joined.is_empty() && (self.tip.extremities.is_empty() || !self.servers.is_empty())
    }

    /// Returns the forward extremities, which the next event names as `prev_events`.
    pub fn extremities(&self) -> impl Iterator<Item = &EventId> {
        self.tip.extremities.iter().map(|extremity| &extremity.event_id)
    }
}
