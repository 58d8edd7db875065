//! Restricted rooms: selects the user who authorises a join
//! (<https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms>).

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::join_rule::JoinRule;
use plexus_protocol::membership::Membership;

use super::MembershipError;
use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::rooms::Rooms;
use crate::read::summary;

/// Returns the local user who authorises the join of `user`; `None` if the join needs none.
///
/// # Errors
/// When `user` is in none of the allowed rooms, no local user may authorise the join, or the database fails.
pub async fn authoriser(rooms: &Rooms, room: &Room, user: &UserId) -> Result<Option<UserId>, MembershipError> {
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

/// Whether the join of a user has to be authorised.
pub fn needs_authoriser(view: &RoomView, user: &UserId) -> bool {
    matches!(view.join_rule, JoinRule::Restricted | JoinRule::KnockRestricted)
        && !matches!(
            view.state.membership(user.as_str()),
            Some(Membership::Invite | Membership::Join | Membership::Ban)
        )
}

/// Returns a local user who may authorise joins.
pub fn can_authorise(view: &RoomView) -> Option<UserId> {
    view.local_joined.iter().find(|member| may_invite(view, member)).cloned()
}

/// Whether a user, of any server, may authorise joins.
pub fn is_authoriser(view: &RoomView, user: &UserId) -> bool {
    view.state.membership(user.as_str()) == Some(Membership::Join) && may_invite(view, user)
}

/// Returns the other servers with a user who may authorise joins.
pub(super) fn servers_with_authorisers(view: &RoomView, own: &ServerName) -> Vec<ServerName> {
    let levels = &view.power_levels;
    // Only users with an explicit level matter: if everybody may authorise joins, so may a user of this server.
    let named = levels.users().filter_map(|(user, _)| UserId::try_from(user).ok());
    let mut servers: Vec<ServerName> = Vec::new();
    for user in levels.privileged_creators().iter().cloned().chain(named).filter(|user| is_authoriser(view, user)) {
        if let Ok(server) = ServerName::try_from(user.server_name())
            && server != *own
            && !servers.contains(&server)
        {
            servers.push(server);
        }
    }
    servers
}

fn may_invite(view: &RoomView, user: &UserId) -> bool {
    view.power_levels.user(user) >= view.power_levels.invite()
}
