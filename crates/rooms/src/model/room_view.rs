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

/// A room at one moment; never changes. Derefs to its [`CurrentState`].
#[derive(Clone)]
pub struct RoomView {
    /// Position of the newest timeline event.
    pub position: Position,
    pub tip: Tip,
    /// The current state and what is derived from it.
    pub current: Arc<CurrentState>,
    /// The newest timeline events, newest last: every one with a position above `recent_after`.
    pub recent: Arc<[Arc<TimelineEvent>]>,
    /// See `recent`; 0 when `recent` reaches back to the room's first event.
    pub recent_after: Position,
    /// Position of the newest change of the current state that was not made by the event at that position but by state
    /// resolution, or by joining; 0 when there was none since `recent_after`.
    pub(crate) merged: Position,
    /// Where events are or were missing. `recent` does not reach back over the newest of them.
    pub gaps: Gaps,
    /// When the room's state was not told or stored as a whole as this server came into it.
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
            merged: 0,
            gaps: Gaps::default(),
            partial: None,
        }
    }

    /// Whether the current state has changed since a position otherwise than by the timeline's own events: state
    /// resolution has put another event in place, or taken one out.
    #[must_use]
    pub fn merged_since(&self, position: Position) -> bool {
        self.merged > position
    }

    /// Whether the room is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.state.get("m.room.encryption", "").is_some()
    }

    /// Whether part of the room's state is missing: member events, above all, that other servers have not told yet.
    /// Nothing of others is judged by it.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial.as_ref().is_some_and(|join| join.full_position.is_none())
    }

    /// Returns the position from which on clients see the room that this server is in; `None`: not yet. `lazily`: for
    /// clients that load members when they need them.
    #[must_use]
    pub fn shown_from(&self, lazily: bool) -> Option<Position> {
        match &self.partial {
            None => Some(0),
            Some(join) if lazily => join.told_position,
            Some(join) => join.full_position,
        }
    }

    /// Whether others are in the room and this server is not: what it knows of the room is old, or came with an invite.
    /// A room that its last local member has left, and nobody else is in, is still this server's to judge.
    #[must_use]
    pub fn is_out_of_band(&self) -> bool {
        self.local_joined.is_empty() && (self.tip.extremities.is_empty() || !self.servers.is_empty())
    }

    /// The forward extremities: what the next event names as `prev_events`.
    pub fn extremities(&self) -> impl Iterator<Item = &EventId> {
        self.tip.extremities.iter().map(|extremity| &extremity.event_id)
    }
}
