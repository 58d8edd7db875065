//! Which state events of a room a client wants, and those that it has been sent before.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_rooms::{StateEntry, StateMap};
use serde::{Deserialize, Serialize};

const MEMBER: &str = "m.room.member";
/// The most selections that are combined from what was wanted at different times; above it the earlier ones are
/// forgotten, and their events sent again when they are wanted again.
const MAX_SELECTIONS: usize = 16;
/// The most bytes of such a combination, for the same reason.
const MAX_COMBINED_BYTES: usize = 16 * 1024;
/// What a pattern needs besides its texts.
const PATTERN_OVERHEAD_BYTES: usize = 16;

/// State events by type and state key; `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StatePattern {
    /// The event type.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<Box<str>>,
    /// The state key.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub state_key: Option<Box<str>>,
}

/// State events that match one of `include` and none of `exclude`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateSelection {
    /// The events that are wanted.
    #[serde(rename = "i")]
    pub include: BTreeSet<StatePattern>,
    /// Those among them that are not.
    #[serde(rename = "x", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exclude: BTreeSet<StatePattern>,
}

/// The state events of a room that a client wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequiredState {
    /// An event is wanted if one of these has it.
    #[serde(rename = "s")]
    selections: BTreeSet<StateSelection>,
    /// Whether the members are wanted that events of the timeline are about.
    #[serde(skip)]
    pub lazy_members: bool,
}

impl StatePattern {
    /// Matches one state.
    pub fn new(event_type: &str, state_key: &str) -> Self {
        Self { event_type: Some(event_type.into()), state_key: Some(state_key.into()) }
    }

    fn matches(&self, event_type: &str, state_key: &str) -> bool {
        self.event_type.as_deref().is_none_or(|wanted| wanted == event_type)
            && self.state_key.as_deref().is_none_or(|wanted| wanted == state_key)
    }

    fn bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        PATTERN_OVERHEAD_BYTES + text(&self.event_type) + text(&self.state_key)
    }

    /// Whether this matches all that `other` matches.
    fn covers(&self, other: &Self) -> bool {
        (self.event_type.is_none() || self.event_type == other.event_type)
            && (self.state_key.is_none() || self.state_key == other.state_key)
    }
}

impl StateSelection {
    fn has(&self, event_type: &str, state_key: &str) -> bool {
        let matches = |pattern: &StatePattern| pattern.matches(event_type, state_key);
        self.include.iter().any(matches) && !self.exclude.iter().any(matches)
    }

    /// Whether this has all that `other` has; may be false although it does.
    fn covers(&self, other: &Self) -> bool {
        self.exclude.is_subset(&other.exclude)
            && other.include.iter().all(|wanted| self.include.iter().any(|pattern| pattern.covers(wanted)))
    }
}

impl RequiredState {
    /// The required state of a request that has these selections.
    pub fn new(selections: impl IntoIterator<Item = StateSelection>, lazy_members: bool) -> Self {
        let selections = selections.into_iter().filter(|selection| !selection.include.is_empty()).collect();
        Self { selections, lazy_members }
    }

    /// Whether a state event is wanted, whatever the timeline holds.
    pub(super) fn wants(&self, event_type: &str, state_key: &str) -> bool {
        self.selections.iter().any(|selection| selection.has(event_type, state_key))
    }

    /// Whether nothing is wanted that `sent` did not want; may be false although that is so.
    pub(super) fn is_within(&self, sent: &Self) -> bool {
        self.selections.iter().all(|wanted| sent.selections.iter().any(|selection| selection.covers(wanted)))
    }

    /// About how many bytes this needs.
    pub(super) fn bytes(&self) -> usize {
        let patterns = |selection: &'_ StateSelection| -> usize {
            selection.include.iter().chain(&selection.exclude).map(StatePattern::bytes).sum()
        };
        self.selections.iter().map(patterns).sum()
    }

    /// Returns what is wanted by one of the two.
    #[must_use]
    pub(super) fn union(&self, other: &Self) -> Self {
        Self {
            selections: self.selections.union(&other.selections).cloned().collect(),
            lazy_members: self.lazy_members || other.lazy_members,
        }
    }

    /// Returns what a client has that has been sent `sent` before and `self` now; what is not in it is sent again when
    /// it is wanted again.
    #[must_use]
    pub(super) fn and_sent_before(&self, sent: &Self) -> Self {
        let both = self.union(sent);
        let is_too_much = both.selections.len() > MAX_SELECTIONS || both.bytes() > MAX_COMBINED_BYTES;
        if is_too_much { self.clone() } else { both }
    }

    /// Whether only members of `server` are wanted besides those that the timeline is about: the members of other
    /// servers may be missing from a room's state.
    pub(super) fn can_do_without_remote_members(&self, server: &str) -> bool {
        let is_local = |key: &str| UserId::try_from(key).is_ok_and(|user| user.server_name() == server);
        let is_safe = |pattern: &StatePattern| match (&pattern.event_type, &pattern.state_key) {
            (Some(event_type), _) if &**event_type != MEMBER => true,
            (_, Some(state_key)) => is_local(state_key),
            (_, None) => false,
        };
        let all_members = StatePattern { event_type: Some(MEMBER.into()), state_key: None };
        let excludes_members = |selection: &StateSelection| selection.exclude.contains(&all_members);
        self.selections.iter().all(|selection| excludes_members(selection) || selection.include.iter().all(is_safe))
    }

    /// Returns the entries of a room's state that are wanted, each once.
    pub(super) fn select<'s>(&'s self, state: &'s StateMap) -> Vec<&'s Arc<StateEntry>> {
        let mut found = Vec::new();
        for pattern in self.selections.iter().flat_map(|selection| &selection.include) {
            match (&pattern.event_type, &pattern.state_key) {
                (Some(event_type), Some(state_key)) => found.extend(state.get(event_type, state_key)),
                (Some(event_type), None) => found.extend(state.of_type(event_type)),
                (None, _) => found.extend(state.iter()),
            }
        }
        found.retain(|entry| self.wants(&entry.event_type, &entry.state_key));
        found.sort_unstable_by_key(|entry| entry.nid);
        found.dedup_by_key(|entry| entry.nid);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(event_type: &str, state_key: &str) -> StatePattern {
        let text = |text: &str| (text != "*").then(|| Box::<str>::from(text));
        StatePattern { event_type: text(event_type), state_key: text(state_key) }
    }

    fn all(include: &[(&str, &str)]) -> RequiredState {
        without(include, &[])
    }

    fn without(include: &[(&str, &str)], exclude: &[(&str, &str)]) -> RequiredState {
        let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(kind, key)| pattern(kind, key)).collect();
        RequiredState::new([StateSelection { include: set(include), exclude: set(exclude) }], false)
    }

    #[test]
    fn patterns_match_types_and_keys() {
        let wanted = without(&[("m.room.name", ""), ("m.space.child", "*"), ("*", "@a:x")], &[("m.secret", "*")]);
        for (event_type, key) in [("m.room.name", ""), ("m.space.child", "!r:x"), ("m.room.member", "@a:x")] {
            assert!(wanted.wants(event_type, key), "{event_type}");
        }
        for (event_type, key) in [("m.room.name", "x"), ("m.room.topic", ""), ("m.secret", "@a:x")] {
            assert!(!wanted.wants(event_type, key), "{event_type}");
        }
    }

    #[test]
    fn what_was_sent_before_need_not_be_sent_again() {
        let (name, both) = (all(&[("m.room.name", "")]), all(&[("m.room.name", ""), ("m.room.topic", "")]));
        assert!(name.is_within(&both) && !both.is_within(&name));
        assert!(both.is_within(&all(&[("*", "*")])) && both.is_within(&name.and_sent_before(&both)));
        assert!(all(&[("m.room.name", "")]).is_within(&all(&[("m.room.name", "*")])));
        assert!(!all(&[("m.room.name", "*")]).is_within(&name));
        let large: Vec<(String, String)> = (0..500).map(|n| (format!("m.{n}"), "k".repeat(30))).collect();
        let large: Vec<(&str, &str)> = large.iter().map(|(kind, key)| (kind.as_str(), key.as_str())).collect();
        assert_eq!(name.and_sent_before(&all(&large)), name, "what was sent before is forgotten if it is large");
        let all_but_name = without(&[("*", "*")], &[("m.room.name", "")]);
        assert!(!name.is_within(&all_but_name) && all_but_name.is_within(&all(&[("*", "*")])));
    }

    #[test]
    fn remote_members_are_needed_where_they_are_wanted() {
        for wanted in [all(&[("m.room.name", "*")]), all(&[("m.room.member", "@me:here")])] {
            assert!(wanted.can_do_without_remote_members("here"));
        }
        for wanted in [all(&[("*", "*")]), all(&[("m.room.member", "*")]), all(&[("m.room.member", "@a:there")])] {
            assert!(!wanted.can_do_without_remote_members("here"));
        }
        assert!(without(&[("*", "*")], &[("m.room.member", "*")]).can_do_without_remote_members("here"));
    }
}
