//! Whether the user was in a room before.

use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, RoomMembership, timeline};
use plexus_store::{DbError, Position};

use super::context::Context;

/// Whether the user was in the room at the request's token.
pub(super) async fn was_joined(context: &Context<'_>, room: &Room) -> Result<bool, DbError> {
    was_joined_at(context, room, context.since_position()).await
}

/// Whether the user was in the room at a position.
pub(crate) async fn was_joined_at(context: &Context<'_>, room: &Room, since: Position) -> Result<bool, DbError> {
    let user = context.request.user.as_str();
    let event = timeline::state_event_at(room, since, "m.room.member", user).await?;
    Ok(event.and_then(|event| Membership::of(&event.pdu)) == Some(Membership::Join))
}

/// Whether the user, who was in the room at the request's token, has left it and come back since. Meanwhile others may
/// have changed their devices unseen.
pub(super) async fn was_away(context: &Context<'_>, room: &Room, membership: &RoomMembership) -> Result<bool, DbError> {
    let since = context.since_position();
    if context.request.since.is_none() || membership.position <= since {
        return Ok(false);
    }
    let own = timeline::member_changes(room, &context.request.user, since, context.now.position).await?;
    Ok(own.iter().any(|event| Membership::of(&event.pdu) != Some(Membership::Join)))
}
