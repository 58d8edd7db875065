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

/// The changes in a room, by the user's membership.
#[derive(Debug)]
pub enum RoomDelta {
    /// The user is in the room.
    Joined(Box<JoinedRoomDelta>),
    /// The user is invited.
    Invited(StrippedRoomDelta),
    /// The user has knocked.
    Knocked(StrippedRoomDelta),
    /// The user has left, or was kicked or banned.
    Left(LeftRoomDelta),
}

/// Takes the rooms that changed, one at a time while they are read.
pub trait RoomSink: Send {
    /// Takes one room. Each room comes once.
    fn add(&mut self, room_id: &RoomId, room: RoomDelta);

    /// Whether no room was added.
    fn is_empty(&self) -> bool;
}

/// Keeps the rooms that changed, by room id and the user's membership.
#[derive(Debug, Default)]
pub struct RoomDeltas {
    /// Rooms that the user is in.
    pub joined: BTreeMap<String, JoinedRoomDelta>,
    /// Rooms to which the user is invited.
    pub invited: BTreeMap<String, StrippedRoomDelta>,
    /// Rooms on which the user has knocked.
    pub knocked: BTreeMap<String, StrippedRoomDelta>,
    /// Rooms that the user has left.
    pub left: BTreeMap<String, LeftRoomDelta>,
}

impl RoomSink for RoomDeltas {
    fn add(&mut self, room_id: &RoomId, room: RoomDelta) {
        let room_id = room_id.as_str().to_owned();
        match room {
            RoomDelta::Joined(room) => drop(self.joined.insert(room_id, *room)),
            RoomDelta::Invited(room) => drop(self.invited.insert(room_id, room)),
            RoomDelta::Knocked(room) => drop(self.knocked.insert(room_id, room)),
            RoomDelta::Left(room) => drop(self.left.insert(room_id, room)),
        }
    }

    fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.invited.is_empty() && self.knocked.is_empty() && self.left.is_empty()
    }
}

/// Adds the rooms that changed to `sink`. Returns the users who came and went in them. `account_data` is what changed
/// of it, by room id.
pub(super) async fn changed(
    context: &Context<'_>,
    account_data: HashMap<String, Vec<AccountData>>,
    sink: &mut impl RoomSink,
) -> Result<UserChanges, DbError> {
    let mut hints = candidates(context);
    for (room_id, data) in account_data {
        let Ok(id) = RoomId::try_from(room_id) else { continue };
        if let Some(room) = context.parts.rooms.get_readable(&id).await? {
            hints.entry(room.nid).or_default().account_data = data;
        }
    }
    let mut users = UserChanges::default();
    for (nid, hints) in hints {
        let Some(membership) = context.memberships.get(nid) else { continue };
        if !has_place(context, membership) {
            continue;
        }
        match read_room(context, *membership, hints, &mut users).await {
            Ok(None) => {}
            Ok(Some((id, delta))) => {
                sink.add(&id, delta);
                // A room in memory is read without waiting, and a sink may write long texts: others get their turn.
                tokio::task::yield_now().await;
            }
            // The client gets everything else.
            Err(error) if error.is_bad_data() => {
                tracing::warn!(room = nid, user = %context.request.user, "a room is left out of a sync: {error}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(users)
}

async fn read_room(
    context: &Context<'_>,
    membership: RoomMembership,
    hints: RoomHints,
    users: &mut UserChanges,
) -> Result<Option<(RoomId, RoomDelta)>, DbError> {
    let Some(room) = context.parts.rooms.get_readable_nid(membership.room).await? else { return Ok(None) };
    if !context.allows_room(&room) {
        return Ok(None);
    }
    let delta = match membership.kind {
        // Its state is not here yet, or was not at the position up to which the delta goes.
        Membership::Join if context.visible_from(&room).is_none_or(|from| from > context.now.position) => None,
        Membership::Join => {
            let delta = joined::changed(context, &room, &membership, hints, users).await?;
            delta.map(|delta| RoomDelta::Joined(Box::new(delta)))
        }
        Membership::Invite => stripped::invited(context, &room, &membership).await?.map(RoomDelta::Invited),
        Membership::Knock => stripped::knocked(context, &room, &membership).await?.map(RoomDelta::Knocked),
        Membership::Leave | Membership::Ban => {
            Some(RoomDelta::Left(left::changed(context, &room, &membership, hints, users).await?))
        }
    };
    Ok(delta.map(|delta| (room.id.clone(), delta)))
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

/// Returns the rooms that may have changed.
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
    for room in context.sticky.keys() {
        hints.entry(*room).or_default();
    }
    for room in context.parts.typing.changed_rooms(since.ephemeral) {
        if joined(room) {
            hints.entry(room).or_default().typing = true;
        }
    }
    hints
}
