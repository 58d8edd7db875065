//! The heroes of a room: the members that give a nameless room its name
//! (<https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>, `m.heroes`).

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;

use crate::model::state_map::StateMap;

/// The maximum number of heroes.
const MAX_HEROES: usize = 5;

/// Returns up to five members other than `user`, in order of user id: joined and invited members or, if there are none,
/// members who left or were banned.
pub fn heroes(state: &StateMap, user: &UserId) -> Vec<UserId> {
    let members = || state.of_type("m.room.member").map(|entry| (&*entry.state_key, entry.membership));
    heroes_among(members, user)
}

/// As for a room's state, of the members that `members` iterates over in order of user id.
#[must_use]
pub fn heroes_among<'m, I: Iterator<Item = (&'m str, Option<Membership>)>>(
    members: impl Fn() -> I,
    user: &UserId,
) -> Vec<UserId> {
    let others = |kinds: &'static [Membership]| {
        members()
            .filter(|(_, membership)| membership.is_some_and(|kind| kinds.contains(&kind)))
            .filter(|(member, _)| *member != user.as_str())
            .filter_map(|(member, _)| UserId::try_from(member).ok())
            .take(MAX_HEROES)
            .collect::<Vec<_>>()
    };
    let present = others(&[Membership::Join, Membership::Invite]);
    if present.is_empty() { others(&[Membership::Leave, Membership::Ban]) } else { present }
}
