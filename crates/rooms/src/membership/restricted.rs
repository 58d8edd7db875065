//! Restricted rooms: who vouches for a user who is in one of the allowed rooms (client-server API, "Restricted rooms").

use plexus_protocol::id::UserId;

use super::MembershipError;
use crate::membership_kind::MembershipKind;
use crate::registry::Rooms;
use crate::room::{JoinRule, Room, RoomView};
use crate::summary;

/// The local user in whose name the server lets `user` in; `None` when the room is not restricted or the user is invited.
pub(super) async fn authoriser(rooms: &Rooms, room: &Room, user: &UserId) -> Result<Option<UserId>, MembershipError> {
    let view = room.view();
    if !needs_authoriser(&view, user) {
        return Ok(None);
    }
    let joined = rooms.memberships().of(user).await?;
    if !summary::is_in_one_of(rooms, &joined, &summary::allowed_rooms(&view)).await? {
        return Err(MembershipError::NotInAllowedRoom);
    }
    can_authorise(&view).map(Some).ok_or(MembershipError::UnableToGrantJoin)
}

/// Whether somebody has to vouch for a user who joins.
pub(crate) fn needs_authoriser(view: &RoomView, user: &UserId) -> bool {
    matches!(view.join_rule, JoinRule::Restricted | JoinRule::KnockRestricted)
        && !matches!(
            view.state.membership(user.as_str()),
            Some(MembershipKind::Invite | MembershipKind::Join | MembershipKind::Ban)
        )
}

/// A local user who has the power to let others in.
pub(crate) fn can_authorise(view: &RoomView) -> Option<UserId> {
    let needed = view.power_levels.invite();
    view.local_joined.iter().find(|member| view.power_levels.user(member) >= needed).cloned()
}
