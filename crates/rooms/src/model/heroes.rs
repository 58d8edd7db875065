//! Who a room without a name is named after (client-server API, room summary).

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;

use crate::model::state_map::StateMap;

const HEROES: usize = 5;

/// Up to five members other than `user`: joined and invited first, when there are none those who left or were banned.
pub fn heroes(state: &StateMap, user: &UserId) -> Vec<UserId> {
    let others = |kinds: &'static [Membership]| {
        state
            .of_type("m.room.member")
            .filter(|entry| entry.membership.is_some_and(|kind| kinds.contains(&kind)))
            .filter(|entry| &*entry.state_key != user.as_str())
            .filter_map(|entry| UserId::try_from(&*entry.state_key).ok())
            .take(HEROES)
            .collect::<Vec<_>>()
    };
    let present = others(&[Membership::Join, Membership::Invite]);
    if present.is_empty() { others(&[Membership::Leave, Membership::Ban]) } else { present }
}
