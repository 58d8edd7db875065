//! The number that a user's apps show.

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, Rooms};
use plexus_store::repo::memberships::RoomMembership;
use plexus_store::{DbError, RoomNid, repo};

use super::room::RoomUnread;
use super::{RoomCounts, UnreadCounts};
use crate::notifier::{ChangeIndex, MaybeChanged};

impl UnreadCounts {
    /// Returns the number that a user's apps show: the rooms to which the user is invited, as far as the user learns of
    /// that, and, of the others, the rooms with unread notifications if `by_room`, otherwise these notifications.
    pub async fn badge(
        &self,
        user: &UserId,
        rooms: &Rooms,
        index: &ChangeIndex,
        by_room: bool,
    ) -> Result<u64, DbError> {
        let upto = self.db.committed();
        let memberships = rooms.memberships().of(user).await?;
        let mut badge = 0;
        let mut joined = Vec::new();
        for membership in memberships.iter() {
            match membership.kind {
                Membership::Invite if self.shows_invite(user, rooms, membership.room).await? => badge += 1,
                Membership::Join => joined.push(*membership),
                Membership::Invite | Membership::Knock | Membership::Leave | Membership::Ban => {}
            }
        }
        let number = |counts: &RoomCounts| {
            let unread = counts.total().notifications;
            if by_room { unread.min(1) } else { unread }
        };
        let entry = self.entry(user);
        let mut unknown = Vec::new();
        {
            let mut loaded = entry.loaded.lock().await;
            let loaded = self.load(user, &entry, &mut loaded).await?;
            for membership in joined {
                match loaded.rooms.get(&membership.room).filter(|unread| is_current(unread, &membership, rooms, index))
                {
                    Some(unread) => badge += number(&unread.counts()),
                    None => unknown.push(membership),
                }
            }
        }
        self.leave_out_read(user, &mut unknown).await?;
        for membership in unknown {
            // Many of them may have to be read, and others wait for the user's counts meanwhile.
            let Some(room) = rooms.get_readable_nid(membership.room).await? else { continue };
            badge += number(&self.counts(user, &room, membership.position, upto).await?);
        }
        Ok(badge)
    }

    /// Whether events of a room may be among those that are counted for a user. Looks only at what is in memory.
    pub fn may_count(&self, user: &UserId, room: RoomNid) -> bool {
        let Some(entry) = self.users.get(user) else { return true };
        let Ok(loaded) = entry.loaded.try_lock() else { return true };
        let unread = loaded.as_ref().and_then(|loaded| loaded.rooms.get(&room));
        unread.is_none_or(|unread| !unread.is_empty())
    }

    async fn shows_invite(&self, user: &UserId, rooms: &Rooms, room: RoomNid) -> Result<bool, DbError> {
        let settings = self.settings.get(user).await?;
        if settings.shows_all_invites() {
            return Ok(true);
        }
        let Some(room) = rooms.get_readable_nid(room).await? else { return Ok(false) };
        Ok(invite_of(&room, user).await?.is_some_and(|sender| settings.shows_invite_by(&sender)))
    }

    /// Takes out the rooms in which nothing has come after the user's receipt, of which the others are evaluated.
    async fn leave_out_read(&self, user: &UserId, unknown: &mut Vec<RoomMembership>) -> Result<(), DbError> {
        if unknown.is_empty() {
            return Ok(());
        }
        let nids: Vec<RoomNid> = unknown.iter().map(|membership| membership.room).collect();
        let newest = self.db.read(move |tx| repo::rooms::positions(tx, &nids)).await?;
        let entry = self.entry(user);
        let mut loaded = entry.loaded.lock().await;
        let loaded = self.load(user, &entry, &mut loaded).await?;
        let is_read = |room: &RoomNid| {
            let (read, newest) = (loaded.read.get(room)?, *newest.get(room)?);
            (newest <= read.unthreaded).then_some(newest)
        };
        let mut all_read = Vec::new();
        unknown.retain(|membership| match is_read(&membership.room) {
            Some(newest) => {
                all_read.push((membership.room, newest));
                false
            }
            None => true,
        });
        for (room, newest) in all_read {
            loaded.rooms.insert(room, RoomUnread::starting_after(newest, 0));
        }
        Ok(())
    }
}

/// Whether counts are those of now.
fn is_current(unread: &RoomUnread, membership: &RoomMembership, rooms: &Rooms, index: &ChangeIndex) -> bool {
    let nothing_new = index.event_after(membership.room, unread.evaluated_to()) == MaybeChanged::Known(false);
    // What is counted may have been redacted, or have expired, and may be from an earlier stay.
    let none_is_gone = || {
        let room = rooms.loaded(membership.room);
        unread.stay().member == membership.position && room.is_some_and(|room| room.redactions() == unread.redactions())
    };
    nothing_new && (unread.is_empty() || none_is_gone())
}

/// Returns the sender of a user's invite.
async fn invite_of(room: &Room, user: &UserId) -> Result<Option<UserId>, DbError> {
    let view = room.view();
    let Some(entry) = view.state.get("m.room.member", user.as_str()) else { return Ok(None) };
    Ok(room.readable_state_event(entry).await?.map(|invite| invite.pdu.sender().clone()))
}
