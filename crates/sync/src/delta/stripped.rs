//! Rooms that the user is invited to or has knocked on.

use std::fmt;
use std::sync::Arc;

use plexus_rooms::{Room, RoomMembership, TimelineEvent};
use plexus_store::DbError;

use super::context::Context;
use super::events::Printed;

/// A room of which only stripped state is visible.
pub struct StrippedRoomDelta {
    /// Stripped state events, JSON.
    pub state: Vec<String>,
    /// The user's own member event.
    pub member: Arc<TimelineEvent>,
}

impl fmt::Debug for StrippedRoomDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StrippedRoomDelta").field("state", &self.state).field("member", &Printed(&self.member)).finish()
    }
}

/// Returns an invite; `None` when its sender is ignored, or the user does not accept it.
pub(crate) async fn invited(
    context: &Context<'_>,
    room: &Arc<Room>,
    membership: &RoomMembership,
) -> Result<Option<StrippedRoomDelta>, DbError> {
    let Some(invite) = own_member_event(context, room).await? else { return Ok(None) };
    let sender = invite.pdu.sender();
    if !context.settings.shows_invite_by(sender) || membership.position > context.now.position {
        return Ok(None);
    }
    let inviter = Some(sender).filter(|sender| **sender != context.request.user);
    let state = context.parts.rooms.stripped_state(room, &invite.pdu, inviter).await?;
    Ok(Some(StrippedRoomDelta { state, member: invite }))
}

/// Returns a knock that has not been answered.
pub(crate) async fn knocked(
    context: &Context<'_>,
    room: &Arc<Room>,
    membership: &RoomMembership,
) -> Result<Option<StrippedRoomDelta>, DbError> {
    let Some(knock) = own_member_event(context, room).await? else { return Ok(None) };
    if membership.position > context.now.position {
        return Ok(None);
    }
    let state = context.parts.rooms.stripped_state(room, &knock.pdu, None).await?;
    Ok(Some(StrippedRoomDelta { state, member: knock }))
}

async fn own_member_event(context: &Context<'_>, room: &Room) -> Result<Option<Arc<TimelineEvent>>, DbError> {
    match room.view().state.get("m.room.member", context.request.user.as_str()) {
        Some(entry) => room.readable_state_event(entry).await,
        None => Ok(None),
    }
}
