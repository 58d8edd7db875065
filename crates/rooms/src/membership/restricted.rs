//! Restricted rooms: who vouches for a user who is in one of the allowed rooms (client-server API, "Restricted rooms").

use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::Value;

use super::MembershipError;
use crate::membership_kind::MembershipKind;
use crate::registry::Rooms;
use crate::room::{JoinRule, Room, RoomView};

/// The local user in whose name the server lets `user` in; `None` when the room is not restricted or the user is invited.
pub(super) async fn authoriser(
    rooms: &Rooms,
    room: &Room,
    user: &UserId,
) -> Result<Option<UserId>, MembershipError> {
    let view = room.view();
    if !matches!(view.join_rule, JoinRule::Restricted | JoinRule::KnockRestricted)
        || matches!(
            view.state.membership(user.as_str()),
            Some(MembershipKind::Invite | MembershipKind::Join | MembershipKind::Ban)
        )
    {
        return Ok(None);
    }
    if !is_in_allowed_room(rooms, &view, user).await? {
        return Err(MembershipError::NotInAllowedRoom);
    }
    let needed = view.power_levels.invite();
    view.local_joined
        .iter()
        .find(|member| view.power_levels.user(member) >= needed)
        .cloned()
        .map(Some)
        .ok_or(MembershipError::UnableToGrantJoin)
}

async fn is_in_allowed_room(rooms: &Rooms, view: &RoomView, user: &UserId) -> Result<bool, MembershipError> {
    let joined = rooms.memberships().of(user).await?;
    let rules = view.event_in_memory("m.room.join_rules", "");
    let allow = rules.and_then(|pdu| pdu.content().get_array("allow")).unwrap_or_default();
    for rule in allow.iter().filter_map(Value::as_object) {
        if rule.get_str("type") != Some("m.room_membership") {
            continue;
        }
        let Some(Ok(id)) = rule.get_str("room_id").map(RoomId::try_from) else { continue };
        if let Some(allowed) = rooms.get(&id).await?
            && joined.get(allowed.nid).is_some_and(|membership| membership.kind == MembershipKind::Join)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
