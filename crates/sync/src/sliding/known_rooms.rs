//! The rooms of a user that can be in lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_protocol::membership::Membership;
use plexus_rooms::RoomMembership;
use plexus_store::{DbError, Position, RoomNid};

use super::connection::{Progress, SentState};
use super::room_facts::{RoomFacts, RoomFactsCache};
use crate::delta::context::Context;

/// A room of the user.
#[derive(Debug, Clone)]
pub(super) struct KnownRoom {
    pub membership: RoomMembership,
    pub facts: Arc<RoomFacts>,
}

impl KnownRoom {
    /// Returns the position of the newest event that the user may see.
    pub(super) fn activity(&self) -> Position {
        self.facts.activity.max(self.membership.position)
    }
}

/// Returns the rooms that can be in a list of a connection: rooms that the user is in, was invited to, has knocked on
/// or was removed from, and rooms that the user left since they were sent. `from`: the position of the connection.
pub(super) async fn of(
    context: &Context<'_>,
    cache: &RoomFactsCache,
    sent: &SentState,
    from: Position,
) -> Result<BTreeMap<RoomNid, KnownRoom>, DbError> {
    let parts = context.parts;
    let mut rooms = BTreeMap::new();
    let joined = cache.joined(parts, context.memberships.joined()).await?;
    for membership in context.memberships.iter().filter(|membership| membership.kind == Membership::Join) {
        if let Some(facts) = joined.get(&membership.room) {
            rooms.insert(membership.room, KnownRoom { membership: *membership, facts: Arc::clone(facts) });
        }
    }
    let is_pending = |room: RoomNid| {
        let membership = context.memberships.get(room);
        membership.is_some_and(|membership| is_unsent(sent, room, membership.position, from))
    };
    let others = context.memberships.iter().filter(|membership| match membership.kind {
        Membership::Join => false,
        Membership::Invite | Membership::Knock => true,
        Membership::Leave | Membership::Ban => !membership.forgotten || is_pending(membership.room),
    });
    let others = cache.others(parts, &context.request.user, others.copied().collect(), is_pending).await?;
    for (nid, (membership, facts)) in others {
        let sender = facts.sender.as_deref().unwrap_or_default();
        let is_ignored = membership.kind == Membership::Invite && context.settings.ignored.contains(sender);
        if !is_ignored {
            rooms.insert(nid, KnownRoom { membership, facts });
        }
    }
    let excluded = &parts.options.exclude_rooms;
    if !excluded.is_empty() {
        rooms.retain(|_, room| !excluded.contains(room.facts.id.as_str()));
    }
    Ok(rooms)
}

/// Whether the client has a room, and not what happened in it at a position.
fn is_unsent(sent: &SentState, room: RoomNid, position: Position, from: Position) -> bool {
    match sent.room(room).map_or(Progress::Never, |sent| sent.room) {
        Progress::Never => false,
        progress => progress.since(from).is_some_and(|since| position > since),
    }
}
