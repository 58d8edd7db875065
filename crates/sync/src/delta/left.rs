//! A room the user has left or was banned from.

use std::sync::Arc;

use plexus_rooms::timeline::member_until;
use plexus_rooms::{Room, RoomMembership, TimelineEvent};
use plexus_store::DbError;

use super::context::{Context, RoomHints};
use super::events::{AccountData, EventList};
use super::membership::was_joined;
use super::state::StateReader;
use super::timeline::{self, Timeline, TimelineDelta};
use super::user_changes::UserChanges;
use crate::history;

/// The changes in a room up to the leave.
#[derive(Debug)]
pub struct LeftRoomDelta {
    /// State besides that in the timeline.
    pub state: EventList,
    /// The newest events up to the leave.
    pub timeline: TimelineDelta,
    /// The user's account data of the room.
    pub account_data: Vec<AccountData>,
}

/// Returns the changes in the room up to the leave.
pub(super) async fn changed(
    context: &Context<'_>,
    room: &Arc<Room>,
    membership: &RoomMembership,
    hints: RoomHints,
    users: &mut UserChanges,
) -> Result<LeftRoomDelta, DbError> {
    let since = context.since_position();
    let was_joined = context.request.since.is_some() && was_joined(context, room).await?;
    // The room is shown as far as the user was a member. A ban may come later; a user who was only invited, or has
    // knocked, or was banned without having been in the room, learns of the end of that and no more.
    let until = member_until(&context.request.user, room).await?.map(|until| until.min(membership.position));
    let member = until.filter(|_| was_joined || context.request.since.is_none());
    let mut timeline = match member {
        Some(until) => timeline::read(context, room, since, until, Some(membership)).await?,
        None => Timeline { start: membership.position - 1, ..Timeline::default() },
    };
    if member.is_none_or(|until| until < membership.position)
        && let Some(event) = own_membership(context, room, membership).await?
    {
        timeline.memberships.insert(event.nid, membership.kind);
        timeline.events.push(event);
    }
    let view = room.view();
    if let Some(until) = member.filter(|_| was_joined) {
        users.add_left(context, room, until).await?;
    }
    let reader = StateReader { context, room, view: &view, timeline: &timeline, heroes: &[], until };
    let state = match member {
        Some(_) if was_joined => reader.changed(since).await?,
        Some(until) => reader.at_leave(until).await?,
        None => Vec::new(),
    };
    let timeline = timeline.into_delta(context, room).await?;
    Ok(LeftRoomDelta { state: EventList(state), timeline, account_data: hints.account_data })
}

/// Returns the user's own member event that made the membership what it is.
pub(crate) async fn own_membership(
    context: &Context<'_>,
    room: &Room,
    membership: &RoomMembership,
) -> Result<Option<Arc<TimelineEvent>>, DbError> {
    let view = room.view();
    let current = view.state.get("m.room.member", context.request.user.as_str());
    // The end of an invite to a room of other servers has no place in a timeline here.
    if let Some(entry) = current.filter(|entry| entry.nid == membership.event_nid) {
        return room.readable_state_event(entry).await;
    }
    let at = membership.position;
    let found = history::newest(room, at - 1, at, 1).await?.pop();
    Ok(found.filter(|event| event.pdu.is_state("m.room.member", context.request.user.as_str())))
}
