//! The rooms of a user that can be in lists.

use std::sync::Arc;

use plexus_protocol::id::UserId;
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
    /// Returns the position of the newest change of the room that clients learn of.
    pub(super) fn last_change(&self) -> Position {
        self.activity().max(self.facts.complete_from)
    }

    /// Returns the position of the newest event that the user may see.
    pub(super) fn activity(&self) -> Position {
        self.facts.activity.max(self.membership.position)
    }
}

/// The rooms of a user that can be in lists of a connection.
#[derive(Debug, Default)]
pub(super) struct KnownRooms {
    /// In order of room number.
    rooms: Vec<KnownRoom>,
}

impl KnownRooms {
    /// Returns a room by its number.
    pub(super) fn get(&self, nid: RoomNid) -> Option<&KnownRoom> {
        let at = self.rooms.binary_search_by_key(&nid, |room| room.membership.room).ok()?;
        self.rooms.get(at)
    }

    /// Iterates over the rooms in order of room number.
    pub(super) fn iter(&self) -> impl Iterator<Item = &KnownRoom> {
        self.rooms.iter()
    }

    /// Reads the rooms that the user is in, was invited to, has knocked on or was removed from, and the rooms that the
    /// user left since they were sent. `from`: the position of the connection.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn read(
        context: &Context<'_>,
        cache: &RoomFactsCache,
        sent: &SentState,
        from: Position,
    ) -> Result<Self, DbError> {
        let parts = context.parts;
        let is_joined = |membership: &&RoomMembership| membership.kind == Membership::Join;
        let mut found = cache.joined(parts, context.memberships.iter().filter(is_joined).copied()).await?;
        let is_pending = |room: RoomNid| {
            let membership = context.memberships.get(room);
            membership.is_some_and(|membership| is_unsent(sent, room, membership.position, from))
        };
        let others = context.memberships.iter().filter(|membership| match membership.kind {
            Membership::Join => false,
            Membership::Invite | Membership::Knock => true,
            Membership::Leave | Membership::Ban => !membership.forgotten || is_pending(membership.room),
        });
        found.extend(cache.others(parts, &context.request.user, others.copied().collect(), is_pending).await?);
        let is_ignored = |membership: &RoomMembership, facts: &RoomFacts| {
            let is_hidden = |sender: UserId| !context.settings.shows_invite_by(&sender);
            let sender = || UserId::try_from(facts.sender.as_deref()?).ok();
            membership.kind == Membership::Invite && sender().is_some_and(is_hidden)
        };
        let excluded = &parts.options.exclude_rooms;
        found.retain(|(membership, facts)| {
            !is_ignored(membership, facts) && (excluded.is_empty() || !excluded.contains(facts.id.as_str()))
        });
        found.sort_unstable_by_key(|(membership, _)| membership.room);
        Ok(Self { rooms: found.into_iter().map(|(membership, facts)| KnownRoom { membership, facts }).collect() })
    }
}

/// Whether the client has a room, and not what happened in it at a position.
fn is_unsent(sent: &SentState, room: RoomNid, position: Position, from: Position) -> bool {
    match sent.room(room).map_or(Progress::Never, |sent| sent.room) {
        Progress::Never => false,
        progress => progress.since(from).is_some_and(|since| position > since),
    }
}
