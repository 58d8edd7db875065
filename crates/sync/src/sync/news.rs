//! Whether there may be anything to tell, asked of memory alone.

use plexus_protocol::membership::Membership;
use plexus_rooms::UserRooms;

use super::{Now, SyncEngine, SyncRequest};
use crate::notifier::Known;

impl SyncEngine {
    /// False only when there is nothing to tell for certain.
    pub(super) fn may_have_news(&self, request: &SyncRequest, now: Now) -> bool {
        let Some(since) = request.since else { return true };
        if now.position == since.position && now.ephemeral == since.ephemeral && since.to_device.is_none() {
            return false;
        }
        let Some(rooms) = self.parts.rooms.memberships().loaded(&request.user) else { return true };
        now.position < since.position
            || self.durable_news(request, &rooms)
            || (now.ephemeral > since.ephemeral && self.ephemeral_news(since.ephemeral, &rooms))
    }

    fn durable_news(&self, request: &SyncRequest, rooms: &UserRooms) -> bool {
        let Some(since) = request.since else { return true };
        let (index, user) = (self.parts.notifier.index(), &request.user);
        let position = since.position;
        let nothing = Known::Yes(false);
        index.membership_changed(user, position) != nothing
            || index.account_data_changed(user, position) != nothing
            || index.device_lists(user, position, i64::MAX) != Known::Yes(Vec::new())
            || request
                .device
                .as_ref()
                .is_some_and(|device| index.to_device_changed(user, device, since.to_device_position()) != nothing)
            || index.rooms_changed(position, |room| is_joined(rooms, room), || rooms.joined()) != Known::Yes(Vec::new())
    }

    fn ephemeral_news(&self, since: u64, rooms: &UserRooms) -> bool {
        self.parts.typing.changed_rooms(since).into_iter().any(|room| is_joined(rooms, room))
            || !self.parts.presence.changed(since).is_empty()
    }
}

/// Whether the user is in the room now.
pub(super) fn is_joined(rooms: &UserRooms, room: plexus_store::RoomNid) -> bool {
    rooms.get(room).is_some_and(|membership| membership.kind == Membership::Join)
}
