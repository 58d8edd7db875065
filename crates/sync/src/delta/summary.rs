//! The summary of a room: the members to name it after, and how many there are.

use plexus_protocol::id::UserId;
use plexus_rooms::RoomView;

/// `summary` of a joined room.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    /// The members a client needs to name the room: none when it has a name or an alias.
    pub heroes: Vec<UserId>,
    /// `m.joined_member_count`
    pub joined_members: u64,
    /// `m.invited_member_count`
    pub invited_members: u64,
}

/// Returns the summary of a room for a user.
pub(super) fn of(view: &RoomView, user: &UserId) -> Summary {
    let has = |event_type, member| view.content_str(event_type, member).is_some_and(|text| !text.is_empty());
    let is_named = has("m.room.name", "name") || has("m.room.canonical_alias", "alias");
    Summary {
        heroes: if is_named { Vec::new() } else { view.heroes(user) },
        joined_members: view.joined_count,
        invited_members: view.invited_count,
    }
}
