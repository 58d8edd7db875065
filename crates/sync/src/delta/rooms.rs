//! Which rooms changed, and what changed in them.

use std::collections::{BTreeMap, HashMap};

use plexus_protocol::id::RoomId;
use plexus_protocol::membership::Membership;
use plexus_rooms::RoomMembership;
use plexus_store::{DbError, RoomNid};

use super::context::{Context, RoomHints};
use super::events::AccountData;
use super::has_changes::is_joined;
use super::joined::{self, JoinedRoomDelta};
use super::left::{self, LeftRoomDelta};
use super::stripped::{self, StrippedRoomDelta};
use super::user_changes::UserChanges;
use crate::notifier::MaybeChanged;

/// The rooms that changed, by room id and the user's membership.
#[derive(Debug, Default)]
pub struct RoomDeltas {
    pub joined: BTreeMap<String, JoinedRoomDelta>,
    pub invited: BTreeMap<String, StrippedRoomDelta>,
    pub knocked: BTreeMap<String, StrippedRoomDelta>,
    pub left: BTreeMap<String, LeftRoomDelta>,
}

impl RoomDeltas {
    /// Whether no room changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.invited.is_empty() && self.knocked.is_empty() && self.left.is_empty()
    }
}

/// The rooms that changed, with the users who came and went in them. `account_data` is what changed of it, by room id.
pub(super) async fn changed(
    context: &Context<'_>,
    account_data: HashMap<String, Vec<AccountData>>,
) -> Result<(RoomDeltas, UserChanges), DbError> {
    let mut hints = candidates(context);
    for (room_id, data) in account_data {
        let Ok(id) = RoomId::try_from(room_id) else { continue };
        if let Some(room) = context.parts.rooms.get_readable(&id).await? {
            hints.entry(room.nid).or_default().account_data = data;
        }
    }
    let (mut deltas, mut users) = (RoomDeltas::default(), UserChanges::default());
    for (nid, hints) in hints {
        let Some(membership) = context.memberships.get(nid) else { continue };
        if !has_place(context, membership) {
            continue;
        }
        match read_room(context, *membership, hints, &mut deltas, &mut users).await {
            // The client gets everything else.
            Err(error) if error.is_bad_data() => {
                tracing::warn!(room = nid, user = %context.request.user, "a room is left out of a sync: {error}");
            }
            read => read?,
        }
    }
    Ok((deltas, users))
}

async fn read_room(
    context: &Context<'_>,
    membership: RoomMembership,
    hints: RoomHints,
    deltas: &mut RoomDeltas,
    users: &mut UserChanges,
) -> Result<(), DbError> {
    let Some(room) = context.parts.rooms.get_readable_nid(membership.room).await? else { return Ok(()) };
    let id = room.id.as_str();
    if !context.filter().room.allows_room(id) || context.parts.options.exclude_rooms.contains(id) {
        return Ok(());
    }
    match membership.kind {
        // Its state is not here yet, or was not at the position up to which the delta goes.
        Membership::Join if context.visible_from(&room).is_none_or(|from| from > context.now.position) => {}
        Membership::Join => {
            let delta = joined::changed(context, &room, &membership, hints, users).await?;
            deltas.joined.extend(delta.map(|delta| (id.to_owned(), delta)));
        }
        Membership::Invite => {
            let delta = stripped::invited(context, &room, &membership).await?;
            deltas.invited.extend(delta.map(|delta| (id.to_owned(), delta)));
        }
        Membership::Knock => {
            let delta = stripped::knocked(context, &room, &membership).await?;
            deltas.knocked.extend(delta.map(|delta| (id.to_owned(), delta)));
        }
        Membership::Leave | Membership::Ban => {
            let delta = left::changed(context, &room, &membership, hints, users).await?;
            deltas.left.insert(id.to_owned(), delta);
        }
    }
    Ok(())
}

/// Whether a room with this membership has a place in the delta at all.
fn has_place(context: &Context<'_>, membership: &RoomMembership) -> bool {
    let is_new = context.request.since.is_none() || membership.position > context.since_position();
    match membership.kind {
        Membership::Join => true,
        Membership::Invite | Membership::Knock => is_new || context.request.full_state,
        Membership::Leave | Membership::Ban => match context.request.since {
            // Even a forgotten room: the user's other devices do not know yet that the user has left it.
            Some(_) => is_new,
            None => context.filter().room.include_leave && !membership.forgotten,
        },
    }
}

/// The rooms that may have changed.
fn candidates(context: &Context<'_>) -> BTreeMap<RoomNid, RoomHints> {
    let all = || context.memberships.iter().map(|membership| (membership.room, RoomHints::default())).collect();
    let Some(since) = context.request.since else { return all() };
    if context.request.full_state {
        return all();
    }
    let position = context.since_position();
    let index = context.parts.notifier.index();
    let joined = |room| is_joined(&context.memberships, room);
    let mut hints: BTreeMap<RoomNid, RoomHints> =
        match index.rooms_changed(position, joined, || context.memberships.joined()) {
            MaybeChanged::Known(rooms) => rooms.into_iter().map(|room| (room, RoomHints::default())).collect(),
            MaybeChanged::Unknown => all(),
        };
    if index.membership_changed(&context.request.user, position) != MaybeChanged::Known(false) {
        let changed = context.memberships.iter().filter(|membership| membership.position > position);
        hints.extend(changed.map(|membership| (membership.room, RoomHints::default())));
    }
    for room in context.parts.typing.changed_rooms(since.ephemeral) {
        if joined(room) {
            hints.entry(room).or_default().typing = true;
        }
    }
    hints
}
