//! Who came and went in the rooms of a user, without anything else of these rooms.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::timeline::{member_until, state_delta};
use plexus_rooms::{Room, RoomMembership};
use plexus_store::{DbError, RoomNid, repo};

use super::context::Context;
use super::membership::{was_away, was_joined};
use super::user_changes::UserChanges;
use crate::notifier::MaybeChanged;

/// Reads who came and went in all rooms of the user since the token.
pub(crate) async fn read(context: &Context<'_>) -> Result<UserChanges, DbError> {
    let mut users = UserChanges::default();
    if context.request.since.is_none() {
        return Ok(users);
    }
    for nid in changed_rooms(context).await? {
        let Some(membership) = context.memberships.get(nid) else { continue };
        let Some(room) = context.parts.rooms.get_readable_nid(nid).await? else { continue };
        match membership.kind {
            Membership::Join => add_joined(context, &room, membership, &mut users).await?,
            Membership::Leave | Membership::Ban => add_left(context, &room, membership, &mut users).await?,
            Membership::Invite | Membership::Knock => {}
        }
    }
    Ok(users)
}

/// Returns the rooms whose state may have changed since the token, and those in which the user's membership did.
async fn changed_rooms(context: &Context<'_>) -> Result<BTreeSet<RoomNid>, DbError> {
    let since = context.since_position();
    let joined = |nid| context.memberships.get(nid).is_some_and(|membership| membership.kind == Membership::Join);
    let index = context.parts.notifier.index();
    let changed = match index.rooms_changed(since, joined, || context.memberships.joined()) {
        MaybeChanged::Known(rooms) => rooms,
        MaybeChanged::Unknown => {
            let rooms: Vec<RoomNid> = context.memberships.joined().collect();
            context.parts.db.read(move |tx| repo::current_state::rooms_changed(tx, &rooms, since)).await?
        }
    };
    let own = context.memberships.iter().filter(|membership| membership.position > since);
    Ok(changed.into_iter().chain(own.map(|membership| membership.room)).collect())
}

async fn add_joined(
    context: &Context<'_>,
    room: &Arc<Room>,
    membership: &RoomMembership,
    users: &mut UserChanges,
) -> Result<(), DbError> {
    let (since, upto) = (context.since_position(), context.now.position);
    let view = room.view();
    let is_new = membership.position > since
        && (!was_joined(context, room).await? || was_away(context, room, membership).await?);
    if since >= view.recent_after && !view.was_resolved_since(since) {
        let recent = view.recent.iter().filter(|event| event.position > since && event.position <= upto);
        users.add_room(context, &view, is_new, recent);
        return Ok(());
    }
    // Only the last event of each member is read. It does not say what the member was at the token: all count.
    let changed = state_delta(room, since, upto).await?;
    users.add_room(context, &view, is_new, changed.iter());
    for event in changed.iter().filter(|event| event.pdu.event_type() == "m.room.member") {
        let Some(user) = event.pdu.state_key().and_then(|user| UserId::try_from(user).ok()) else { continue };
        match Membership::of(&event.pdu) {
            Some(Membership::Join) => _ = users.keys_needed.insert(user),
            Some(Membership::Leave | Membership::Ban) => _ = users.left.insert(user),
            _ => {}
        }
    }
    Ok(())
}

async fn add_left(
    context: &Context<'_>,
    room: &Room,
    membership: &RoomMembership,
    users: &mut UserChanges,
) -> Result<(), DbError> {
    if membership.position <= context.since_position() || !was_joined(context, room).await? {
        return Ok(());
    }
    match member_until(&context.request.user, room).await? {
        Some(until) => users.add_left(context, room, until.min(membership.position)).await,
        None => Ok(()),
    }
}
