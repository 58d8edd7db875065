//! [Rule 5](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules): `m.room.member`.

use super::{AuthRejection, RoomState, require, third_party_invite};
use crate::{
    event::Pdu,
    id::UserId,
    join_rule::JoinRule,
    membership::Membership,
    power_levels::{LevelField, is_creator},
};

/// A member event with the memberships of its sender and its target before it.
struct Change<'a> {
    event: &'a Pdu,
    sender: &'a str,
    target: &'a str,
    target_membership: Option<Membership>,
}

impl Change<'_> {
    fn is_own(&self) -> bool {
        self.sender == self.target
    }
}

pub(super) fn check(room: &RoomState<'_>, event: &Pdu) -> Result<(), AuthRejection> {
    // 5.1. State key and membership.
    let target = event.state_key().ok_or(AuthRejection::MissingStateKey)?;
    let membership = Membership::of(event).ok_or(AuthRejection::UnknownMembership)?;
    if target.parse::<UserId>().is_err() {
        return Err(AuthRejection::InvalidTarget);
    }
    // 5.2, the signature of the authorising server, is checked with the other signatures.
    let change = Change { event, sender: event.sender().as_str(), target, target_membership: room.membership(target) };
    match membership {
        Membership::Join => check_join(room, &change),
        Membership::Invite => check_invite(room, &change),
        Membership::Leave => check_leave(room, &change),
        Membership::Ban => check_ban(room, &change),
        Membership::Knock if room.rules.auth.knocking => check_knock(room, &change),
        // 5.8. Otherwise, the membership is unknown.
        Membership::Knock => Err(AuthRejection::UnknownMembership),
    }
}

/// Rule 5.3.
fn check_join(room: &RoomState<'_>, change: &Change<'_>) -> Result<(), AuthRejection> {
    // 5.3.1. The creator, right after creation.
    if change.event.prev_events() == std::slice::from_ref(room.create.event_id())
        && is_first_member(room, change.target)
    {
        return Ok(());
    }
    // 5.3.2. Users join only for themselves.
    if !change.is_own() {
        return Err(AuthRejection::MembershipOfOtherUser);
    }
    // 5.3.3. Banned.
    if change.target_membership == Some(Membership::Ban) {
        return Err(AuthRejection::Banned);
    }
    let invited_or_joined = matches!(change.target_membership, Some(Membership::Invite | Membership::Join));
    match join_rule(room) {
        // 5.3.4. Invite and knock.
        JoinRule::Invite | JoinRule::Knock if invited_or_joined => Ok(()),
        JoinRule::Invite | JoinRule::Knock => Err(AuthRejection::NotInvited),
        // 5.3.5. Restricted and knock_restricted.
        JoinRule::Restricted | JoinRule::KnockRestricted if invited_or_joined => Ok(()),
        JoinRule::Restricted | JoinRule::KnockRestricted => check_authorised_join(room, change.event),
        // 5.3.6. Public.
        JoinRule::Public => Ok(()),
        // 5.3.7. Otherwise, reject.
        JoinRule::Private | JoinRule::Unknown => Err(AuthRejection::JoinRuleClosed),
    }
}

/// Returns the room's join rule as its version understands it.
fn join_rule(room: &RoomState<'_>) -> JoinRule {
    let event = (room.state)("m.room.join_rules", "");
    JoinRule::of(event.as_ref().map(Pdu::content)).in_version(&room.rules.auth)
}

/// Whether `user` may join before there are join rules: the sender of the create event, or `content.creator` up to room
/// version 10. The additional creators of version 12 may not.
fn is_first_member(room: &RoomState<'_>, user: &str) -> bool {
    if room.rules.auth.creator_is_sender {
        room.create.sender().as_str() == user
    } else {
        is_creator(room.create, user)
    }
}

/// Rule 5.3.5.2.
fn check_authorised_join(room: &RoomState<'_>, event: &Pdu) -> Result<(), AuthRejection> {
    let authoriser = event.content().get_str("join_authorised_via_users_server");
    let authoriser = authoriser.ok_or(AuthRejection::NoAuthorisingUser)?;
    if room.membership(authoriser) != Some(Membership::Join) {
        return Err(AuthRejection::AuthorisingUserNotJoined);
    }
    if room.levels.user(authoriser) < room.levels.field(LevelField::Invite) {
        return Err(AuthRejection::AuthorisingUserMayNotInvite);
    }
    Ok(())
}

/// Rule 5.4.
fn check_invite(room: &RoomState<'_>, change: &Change<'_>) -> Result<(), AuthRejection> {
    // 5.4.1. Third-party invites.
    if let Some(invite) = change.event.content().get("third_party_invite") {
        if change.target_membership == Some(Membership::Ban) {
            return Err(AuthRejection::TargetJoinedOrBanned);
        }
        return third_party_invite::check(room, change.event, change.target, invite);
    }
    // 5.4.2. The sender has to be in the room.
    require_joined_sender(room, change)?;
    // 5.4.3. The target must be neither in it nor banned.
    if matches!(change.target_membership, Some(Membership::Join | Membership::Ban)) {
        return Err(AuthRejection::TargetJoinedOrBanned);
    }
    // 5.4.4. Invite level.
    require(room.levels.user(change.sender), room.levels.field(LevelField::Invite))
}

/// Rule 5.5.
fn check_leave(room: &RoomState<'_>, change: &Change<'_>) -> Result<(), AuthRejection> {
    // 5.5.1. Leaving, rejecting an invite, retracting a knock.
    if change.is_own() {
        return match change.target_membership {
            Some(Membership::Invite | Membership::Join) => Ok(()),
            Some(Membership::Knock) if room.rules.auth.knocking => Ok(()),
            _ => Err(AuthRejection::NothingToLeave),
        };
    }
    // 5.5.2. The sender has to be in the room.
    require_joined_sender(room, change)?;
    let sender = room.levels.user(change.sender);
    // 5.5.3. Unbanning needs the ban level as well.
    if change.target_membership == Some(Membership::Ban) {
        require(sender, room.levels.field(LevelField::Ban))?;
    }
    // 5.5.4. Kick level, and more power than the target.
    require(sender, room.levels.field(LevelField::Kick))?;
    require_power_over_target(room, change)
}

/// Rule 5.6.
fn check_ban(room: &RoomState<'_>, change: &Change<'_>) -> Result<(), AuthRejection> {
    // 5.6.1. The sender has to be in the room.
    require_joined_sender(room, change)?;
    // 5.6.2. Ban level, and more power than the target.
    require(room.levels.user(change.sender), room.levels.field(LevelField::Ban))?;
    require_power_over_target(room, change)
}

/// Rule 5.7.
fn check_knock(room: &RoomState<'_>, change: &Change<'_>) -> Result<(), AuthRejection> {
    // 5.7.1. Join rule.
    if !matches!(join_rule(room), JoinRule::Knock | JoinRule::KnockRestricted) {
        return Err(AuthRejection::KnockingNotAllowed);
    }
    // 5.7.2. Users knock only for themselves.
    if !change.is_own() {
        return Err(AuthRejection::MembershipOfOtherUser);
    }
    // 5.7.3. The current membership.
    match change.target_membership {
        Some(Membership::Ban | Membership::Invite | Membership::Join) => Err(AuthRejection::CannotKnock),
        _ => Ok(()),
    }
}

fn require_joined_sender(room: &RoomState<'_>, change: &Change<'_>) -> Result<(), AuthRejection> {
    match room.membership(change.sender) {
        Some(Membership::Join) => Ok(()),
        _ => Err(AuthRejection::SenderNotJoined),
    }
}

fn require_power_over_target(room: &RoomState<'_>, change: &Change<'_>) -> Result<(), AuthRejection> {
    let (sender, target) = (room.levels.user(change.sender), room.levels.user(change.target));
    if target < sender { Ok(()) } else { Err(AuthRejection::TargetTooPowerful { sender, target }) }
}
