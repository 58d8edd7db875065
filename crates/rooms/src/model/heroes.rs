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
    let others = |kinds: &'static [Membership]| {
        state
            .of_type("m.room.member")
            .filter(|entry| entry.membership.is_some_and(|kind| kinds.contains(&kind)))
            .filter(|entry| &*entry.state_key != user.as_str())
            .filter_map(|entry| UserId::try_from(&*entry.state_key).ok())
            .take(MAX_HEROES)
            .collect::<Vec<_>>()
    };
    let present = others(&[Membership::Join, Membership::Invite]);
    if present.is_empty() { others(&[Membership::Leave, Membership::Ban]) } else { present }
}
