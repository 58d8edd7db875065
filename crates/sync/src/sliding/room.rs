//! What a response says of one room.

mod bump_stamp;
mod joined;
mod left;
mod members;
mod required;

use std::sync::Arc;

use plexus_protocol::membership::Membership;
use plexus_rooms::TimelineEvent;
use plexus_store::{DbError, Position};

use super::connection::{Progress, SentRoom, SentState};
use super::labels::Labels;
use super::lists::RelevantRoom;
use super::request::Form;
use super::required_state::RequiredState;
use crate::delta::context::Context;
use crate::delta::{StrippedRoomDelta, TimelineDelta, stripped};
use crate::unread::RoomCounts;
pub(super) use members::Hero;

/// About what an event needs in a response besides its content.
const EVENT_OVERHEAD_BYTES: usize = 400;

/// A value that a client may have already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Update<T> {
    /// The client has it.
    #[default]
    Unchanged,
    /// There is none any more.
    Removed,
    Set(T),
}

/// What a response says of a room.
#[derive(Debug)]
pub(super) struct RoomUpdate {
    pub membership: Membership,
    /// Whether the client replaces what it has of the room.
    pub initial: bool,
    /// Whether the timeline begins before what the client has of it.
    pub expanded: bool,
    pub name: Update<String>,
    pub avatar: Update<String>,
    /// The members to name the room after; `None`: unchanged, or the room has a name.
    pub heroes: Option<Vec<Hero>>,
    /// `None`: unchanged.
    pub is_dm: Option<bool>,
    pub required_state: Vec<Arc<TimelineEvent>>,
    /// Type and state key of wanted state that there is no more.
    pub removed_state: Vec<(String, String)>,
    /// `None`: none is wanted, or there is none.
    pub timeline: Option<TimelineDelta>,
    /// How many events of the timeline are new since the request's position.
    pub num_live: usize,
    /// `None`: unchanged.
    pub members: Option<MemberCounts>,
    /// `None`: the user is not in the room.
    pub unread: Option<RoomCounts>,
    /// `None`: unchanged.
    pub bump_stamp: Option<Position>,
    /// Of an invite or knock.
    pub stripped: Option<StrippedRoomDelta>,
}

/// How many members a room has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemberCounts {
    pub joined: u64,
    pub invited: u64,
}

/// A room as it was read for a response.
pub(super) struct ReadRoom {
    /// `None`: there is nothing to say.
    pub update: Option<RoomUpdate>,
    /// What the client has of the room after the response; `None`: nothing.
    pub sent: Option<SentRoom>,
    /// The required state that the client has then.
    pub has: Arc<RequiredState>,
}

/// Reads rooms for a response.
pub(super) struct RoomReader<'r> {
    pub context: &'r Context<'r>,
    /// What the client has.
    pub state: &'r SentState,
    /// The position of the request; `None` without.
    pub from: Option<Position>,
    /// The form of the response: what the other form has is not read.
    pub form: Form,
    pub labels: &'r Labels,
}

impl RoomUpdate {
    fn new(membership: Membership, initial: bool) -> Self {
        Self {
            membership,
            initial,
            expanded: false,
            name: Update::Unchanged,
            avatar: Update::Unchanged,
            heroes: None,
            is_dm: None,
            required_state: Vec::new(),
            removed_state: Vec::new(),
            timeline: None,
            num_live: 0,
            members: None,
            unread: None,
            bump_stamp: None,
            stripped: None,
        }
    }

    /// Returns about how many bytes the events need.
    pub(super) fn bytes(&self) -> usize {
        let timeline = self.timeline.iter().flat_map(|timeline| &timeline.events.0);
        self.required_state
            .iter()
            .chain(timeline)
            .map(|event| event.pdu.content_json().len() + EVENT_OVERHEAD_BYTES)
            .sum()
    }
}

impl RoomReader<'_> {
    /// Reads what the response says of a room. `None`: the room cannot be read, or not yet.
    pub(super) async fn read(&self, relevant: &RelevantRoom) -> Result<Option<ReadRoom>, DbError> {
        let membership = &relevant.known.membership;
        let rooms = &self.context.parts.rooms;
        let Some(room) = rooms.get_readable_nid(membership.room).await? else { return Ok(None) };
        match membership.kind {
            Membership::Join => self.joined(&room, relevant).await.map(Some),
            Membership::Invite => {
                let invite = stripped::invited(self.context, &room, membership).await?;
                Ok(invite.map(|invite| self.stripped(relevant, invite)))
            }
            Membership::Knock => {
                let knock = stripped::knocked(self.context, &room, membership).await?;
                Ok(knock.map(|knock| self.stripped(relevant, knock)))
            }
            Membership::Leave | Membership::Ban => self.left(&room, relevant).await,
        }
    }

    fn stripped(&self, relevant: &RelevantRoom, stripped: StrippedRoomDelta) -> ReadRoom {
        let membership = relevant.known.membership;
        let before = self.before(relevant);
        let is_dm = self.labels.direct.contains(&membership.room);
        let update = RoomUpdate {
            is_dm: is_dm.then_some(true),
            bump_stamp: Some(membership.position),
            stripped: Some(stripped),
            ..RoomUpdate::new(membership.kind, true)
        };
        let sent = SentRoom { room: Progress::Live, timeline_limit: u32::MAX, is_dm, ..before };
        ReadRoom { update: Some(update), sent: Some(sent), has: Arc::default() }
    }

    /// Returns what the client has of a room.
    fn before(&self, relevant: &RelevantRoom) -> SentRoom {
        let nid = relevant.known.membership.room;
        self.state.room(nid).cloned().unwrap_or_else(|| SentRoom::new(nid))
    }

    /// Returns the position up to which the client has everything of a room; `None`: the client does not have the room.
    fn since(&self, before: &SentRoom) -> Option<Position> {
        before.room.since(self.from?)
    }

    /// Returns how many events at the end of a timeline are new since the request's position.
    fn num_live(&self, events: &[Arc<TimelineEvent>]) -> usize {
        let from = self.from.unwrap_or(Position::MAX);
        events.iter().rev().take_while(|event| event.position > from).count()
    }
}
