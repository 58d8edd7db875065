//! Which events of a room a user may see
//! ([Room History Visibility](https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility)).
//!
//! Synapse goes beyond the specification in one point: it shows users every end of their own invites and memberships.
//! Here the rules apply, so a rejected invite is not part of the history if only members may see the history; `/sync`
//! reports the end of the invite in any case.

use crate::{json::Object, membership::Membership};

/// The value of `m.room.history_visibility`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HistoryVisibility {
    /// Everyone, in the room or not.
    WorldReadable,
    /// Members also see what was sent before they joined. The default, also for unknown values.
    #[default]
    Shared,
    /// Members see what was sent since they were invited.
    Invited,
    /// Members see what was sent since they joined.
    Joined,
}

impl HistoryVisibility {
    /// Reads the content of an `m.room.history_visibility` event, `None` where there is no event.
    pub fn of(content: Option<&Object>) -> Self {
        match content.and_then(|content| content.get_str("history_visibility")) {
            Some("world_readable") => Self::WorldReadable,
            Some("invited") => Self::Invited,
            Some("joined") => Self::Joined,
            _ => Self::Shared,
        }
    }

    /// Returns the value of `history_visibility`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorldReadable => "world_readable",
            Self::Shared => "shared",
            Self::Invited => "invited",
            Self::Joined => "joined",
        }
    }
}

/// The two facts of the room state that decide whether a user may see an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateForUser {
    /// The room's history visibility.
    pub visibility: HistoryVisibility,
    /// The user's membership; `None` for a user who never had any.
    pub membership: Option<Membership>,
}

impl StateForUser {
    /// Rules 1 to 5 for an event at this state. `joined_later`: whether the user joined at any time after the event.
    pub fn allows(self, joined_later: bool) -> bool {
        match (self.visibility, self.membership) {
            (HistoryVisibility::WorldReadable, _) | (_, Some(Membership::Join)) => true,
            (HistoryVisibility::Shared, _) if joined_later => true,
            (HistoryVisibility::Invited, Some(Membership::Invite)) => true,
            _ => false,
        }
    }
}

/// Whether a user may see an event. `before` and `after` are the room state around it. They differ for two kinds of
/// event: a change of the history visibility, and the user's own member events. Such an event is visible if either
/// state allows it.
///
/// A server may see what at least one of its users may see.
pub fn is_visible(before: StateForUser, after: StateForUser, joined_later: bool) -> bool {
    before.allows(joined_later) || after.allows(joined_later)
}

#[cfg(test)]
mod tests {
    use super::{HistoryVisibility as V, StateForUser, is_visible};
    use crate::membership::Membership as M;

    fn at(visibility: V, membership: Option<M>) -> StateForUser {
        StateForUser { visibility, membership }
    }

    #[test]
    fn ordinary_events() {
        let memberships = [None, Some(M::Join), Some(M::Invite), Some(M::Leave), Some(M::Ban), Some(M::Knock)];
        for visibility in [V::WorldReadable, V::Shared, V::Invited, V::Joined] {
            for membership in memberships {
                for joined_later in [false, true] {
                    let state = at(visibility, membership);
                    let expected = visibility == V::WorldReadable
                        || membership == Some(M::Join)
                        || (visibility == V::Shared && joined_later)
                        || (visibility == V::Invited && membership == Some(M::Invite));
                    assert_eq!(is_visible(state, state, joined_later), expected, "{state:?} {joined_later}");
                }
            }
        }
    }

    #[test]
    fn changes_are_seen_from_either_side() {
        let out = None;
        assert!(is_visible(at(V::WorldReadable, out), at(V::Joined, out), false));
        assert!(is_visible(at(V::Joined, out), at(V::WorldReadable, out), false));
        assert!(is_visible(at(V::Joined, Some(M::Leave)), at(V::Joined, Some(M::Join)), false));
        assert!(is_visible(at(V::Joined, Some(M::Join)), at(V::Joined, Some(M::Ban)), false));
        assert!(is_visible(at(V::Invited, Some(M::Invite)), at(V::Invited, Some(M::Leave)), false));
        assert!(is_visible(at(V::Shared, Some(M::Invite)), at(V::Shared, Some(M::Leave)), true));
        assert!(!is_visible(at(V::Joined, out), at(V::Joined, Some(M::Invite)), false));
        assert!(!is_visible(at(V::Joined, Some(M::Ban)), at(V::Joined, Some(M::Leave)), false));
        assert!(!is_visible(at(V::Joined, Some(M::Invite)), at(V::Joined, Some(M::Leave)), true));
        assert!(!is_visible(at(V::Shared, Some(M::Knock)), at(V::Shared, Some(M::Leave)), false));
    }
}
