//! `summary` of a room: whom to name it after, and how many members it has.

use plexus_protocol::id::UserId;
use plexus_rooms::RoomView;

use crate::json::{Members, push_str};

/// The members a client needs to name the room: none when it has a name or an alias.
pub(super) fn heroes(view: &RoomView, user: &UserId) -> Vec<UserId> {
    let named = |event_type, member| view.content_str(event_type, member).is_some_and(|text| !text.is_empty());
    if named("m.room.name", "name") || named("m.room.canonical_alias", "alias") {
        return Vec::new();
    }
    view.heroes(user)
}

/// Writes the summary.
pub(super) fn write(out: &mut Members<'_>, view: &RoomView, heroes: &[UserId]) {
    let mut summary = Members::open(out.key("summary"));
    if !heroes.is_empty() {
        let list = summary.key("m.heroes");
        list.push('[');
        for (at, hero) in heroes.iter().enumerate() {
            if at > 0 {
                list.push(',');
            }
            push_str(list, hero.as_str());
        }
        list.push(']');
    }
    summary.number("m.joined_member_count", view.joined_count);
    summary.number("m.invited_member_count", view.invited_count);
    summary.close();
}
