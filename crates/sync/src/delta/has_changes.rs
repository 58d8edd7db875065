//! Whether there may be changes, by what is in memory.

use plexus_protocol::membership::Membership;
use plexus_rooms::UserRooms;
use plexus_store::RoomNid;

use super::profile_fields::ProfileFields;
use super::request::{DeltaParts, DeltaRequest, Now};
use crate::notifier::MaybeChanged;
use crate::token::SyncToken;

/// Whether there may be changes up to `now`. False only if there are certainly none.
pub(crate) fn may_have_changes(parts: &DeltaParts, request: &DeltaRequest, now: Now) -> bool {
    // With more sticky events to come there is something to read at once.
    let Some(since) = request.since.filter(|since| since.sticky.is_none()) else { return true };
    if now.position == since.position && now.ephemeral == since.ephemeral && since.to_device.is_none() {
        return false;
    }
    let Some(rooms) = parts.rooms.memberships().loaded(&request.user) else { return true };
    now.position < since.position
        || may_have_durable_changes(parts, request, since, &rooms)
        || (now.ephemeral > since.ephemeral && has_ephemeral_changes(parts, since.ephemeral, &rooms))
}

fn may_have_durable_changes(parts: &DeltaParts, request: &DeltaRequest, since: SyncToken, rooms: &UserRooms) -> bool {
    let (index, user) = (parts.notifier.index(), &request.user);
    let position = since.position;
    let unchanged = MaybeChanged::Known(false);
    let is_mine = |room| is_joined(rooms, room);
    index.membership_changed(user, position) != unchanged
        || index.account_data_changed(user, position) != unchanged
        || index.device_lists(user, position, i64::MAX) != MaybeChanged::Known(Vec::new())
        || request
            .device
            .as_ref()
            .is_some_and(|device| index.to_device_changed(user, device, since.to_device_position()) != unchanged)
        || (request.profiles != ProfileFields::None && index.profiles_changed(position) != unchanged)
        || index.rooms_changed(position, is_mine, || rooms.joined()) != MaybeChanged::Known(Vec::new())
}

fn has_ephemeral_changes(parts: &DeltaParts, since: u64, rooms: &UserRooms) -> bool {
    parts.typing.changed_rooms(since).into_iter().any(|room| is_joined(rooms, room))
        || !parts.presence.changed(since).is_empty()
}

/// Whether the user is in the room now.
pub(super) fn is_joined(rooms: &UserRooms, room: RoomNid) -> bool {
    rooms.get(room).is_some_and(|membership| membership.kind == Membership::Join)
}
