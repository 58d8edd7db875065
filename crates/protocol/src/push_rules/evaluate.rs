//! Finding the rule that matches an event ([Push Rules](https://spec.matrix.org/v1.19/client-server-api/#push-rules)).

use super::{
    compile::{Actions, Comparison, CompiledRuleset, Rule, Test},
    event_path::{EventView, Path, scalar_equals},
    model::{RuleKind, Scalar},
};
use crate::{
    glob::{contains_words, equal_ignoring_case},
    id::UserId,
    power_levels::PowerLevels,
};

/// The facts about the room, at the event, that push rules need.
#[derive(Debug, Clone, Copy)]
pub struct RoomContext<'a> {
    /// The number of joined members.
    pub member_count: u64,
    /// The power levels of the room; if `None`, no rule that requires a permission matches.
    pub power_levels: Option<&'a PowerLevels>,
}

/// The user who owns the rules.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The user's id.
    pub user_id: &'a UserId,
    /// The user's display name in the room.
    pub display_name: Option<&'a str>,
    /// Whether the user has subscribed to the event's thread (MSC4306); if `None`, no rule about that matches.
    pub thread_subscribed: Option<bool>,
}

/// The facts about the owner that decide which rule matches an event, besides the id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnerFacts {
    /// [`Owner::display_name`].
    pub display_name: bool,
    /// [`Owner::thread_subscribed`].
    pub thread_subscribed: bool,
}

/// The result of a test for which the owner may be unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Yes,
    No,
    DependsOnOwner,
}

impl From<bool> for Outcome {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

impl CompiledRuleset {
    /// Returns the actions of the first rule that matches, or empty ones. The caller excludes the user's own events and
    /// ignored senders.
    pub fn evaluate(&self, event: &EventView<'_>, room: &RoomContext<'_>, owner: Owner<'_>) -> &Actions {
        self.first_match(event, room, owner).map_or(&self.nothing, |(_, rule)| &rule.actions)
    }

    /// Returns the kind and id of the rule that [`CompiledRuleset::evaluate`] takes its actions from.
    pub fn matching_rule(
        &self,
        event: &EventView<'_>,
        room: &RoomContext<'_>,
        owner: Owner<'_>,
    ) -> Option<(RuleKind, &str)> {
        self.first_match(event, room, owner).map(|(kind, rule)| (kind, rule.rule_id.as_str()))
    }

    /// Returns the actions for everyone with these rules if they are the same for all; `None` when the event mentions
    /// or concerns somebody, so that [`CompiledRuleset::evaluate`] must be called for each owner.
    pub fn evaluate_for_all(&self, event: &EventView<'_>, room: &RoomContext<'_>) -> Option<&Actions> {
        for (_, rule) in self.candidates(event) {
            match rule.test(event, room, None) {
                Outcome::Yes => return Some(&rule.actions),
                Outcome::No => {}
                Outcome::DependsOnOwner => return None,
            }
        }
        Some(&self.nothing)
    }

    /// Returns the facts about a user that [`CompiledRuleset::evaluate`] needs for an event: another may be `None`.
    pub fn owner_facts(&self, event: &EventView<'_>, room: &RoomContext<'_>, user_id: &UserId) -> OwnerFacts {
        let owner = Owner { user_id, display_name: None, thread_subscribed: None };
        let mut facts = OwnerFacts::default();
        for (_, rule) in self.candidates(event) {
            let decides = rule.owner_facts(event);
            let is_fact = |test: &&Test| decides.contain(test);
            let others = rule.tests.iter().filter(|test| !is_fact(test));
            if others.map(|test| test.test(event, room, Some(owner))).any(|outcome| outcome != Outcome::Yes) {
                continue;
            }
            if decides == OwnerFacts::default() {
                break;
            }
            facts.display_name |= decides.display_name;
            facts.thread_subscribed |= decides.thread_subscribed;
        }
        facts
    }

    fn first_match(
        &self,
        event: &EventView<'_>,
        room: &RoomContext<'_>,
        owner: Owner<'_>,
    ) -> Option<(RuleKind, &Rule)> {
        self.candidates(event).find(|(_, rule)| rule.test(event, room, Some(owner)) == Outcome::Yes)
    }

    fn candidates(&self, event: &EventView<'_>) -> impl Iterator<Item = (RuleKind, &Rule)> {
        // Rules for mentions in the body do not apply when the event has `m.mentions`.
        let has_mentions = event.content.get("m.mentions").is_some();
        let kinds = |kind: RuleKind| move |rule| (kind, rule);
        self.overrides
            .iter()
            .map(kinds(RuleKind::Override))
            .chain(self.contents.iter().map(kinds(RuleKind::Content)))
            .chain(self.postcontents.iter().map(kinds(RuleKind::Postcontent)))
            .chain(self.rooms.get(event.room_id).map(kinds(RuleKind::Room)))
            .chain(self.senders.get(event.sender).map(kinds(RuleKind::Sender)))
            .chain(self.underrides.iter().map(kinds(RuleKind::Underride)))
            .filter(move |(_, rule)| !(has_mentions && rule.legacy_mention))
    }
}

impl OwnerFacts {
    /// Whether a test is about one of them.
    fn contain(self, test: &Test) -> bool {
        match test {
            Test::DisplayName => self.display_name,
            Test::ThreadSubscription(_) => self.thread_subscribed,
            _ => false,
        }
    }
}

impl Rule {
    /// Returns the facts about the owner that the rule tests for an event which can have them.
    fn owner_facts(&self, event: &EventView<'_>) -> OwnerFacts {
        OwnerFacts {
            display_name: self.tests.contains(&Test::DisplayName) && body(event).is_some(),
            thread_subscribed: event.thread_root().is_some()
                && self.tests.iter().any(|test| matches!(test, Test::ThreadSubscription(_))),
        }
    }

    fn test(&self, event: &EventView<'_>, room: &RoomContext<'_>, owner: Option<Owner<'_>>) -> Outcome {
        let mut outcome = Outcome::Yes;
        for test in &self.tests {
            match test.test(event, room, owner) {
                Outcome::Yes => {}
                Outcome::No => return Outcome::No,
                Outcome::DependsOnOwner => outcome = Outcome::DependsOnOwner,
            }
        }
        outcome
    }
}

impl Test {
    fn test(&self, event: &EventView<'_>, room: &RoomContext<'_>, owner: Option<Owner<'_>>) -> Outcome {
        match self {
            Self::Match(path, pattern) => path.text(event).is_some_and(|value| pattern.matches(value)).into(),
            Self::Is(path, value) => path.is(event, value).into(),
            Self::Contains(path, value) => contains(path, event, value).into(),
            Self::MemberCount(comparison, count) => comparison.holds(room.member_count, *count).into(),
            Self::NotificationPermission(key) => may_notify(event, room, key).into(),
            Self::ThreadSubscription(subscribed) => {
                personal(event.thread_root(), owner, |_, owner| owner.thread_subscribed == Some(*subscribed))
            }
            Self::Never => Outcome::No,
            Self::MatchOwnId(path) => {
                personal(path.text(event), owner, |value, owner| equal_ignoring_case(value, owner.user_id.as_str()))
            }
            Self::MatchOwnLocalpart(path) => {
                personal(path.text(event), owner, |value, owner| contains_words(value, owner.user_id.localpart()))
            }
            Self::DisplayName => personal(body(event), owner, |body, owner| {
                // An empty name would be found in every text.
                owner.display_name.is_some_and(|name| !name.is_empty() && contains_words(body, name))
            }),
            Self::ContainsOwnId(path) => {
                let values = path.array(event).filter(|values| !values.is_empty());
                personal(values, owner, |values, owner| {
                    values.iter().any(|value| value.as_str() == Some(owner.user_id.as_str()))
                })
            }
        }
    }
}

fn personal<T>(value: Option<T>, owner: Option<Owner<'_>>, test: impl Fn(T, Owner<'_>) -> bool) -> Outcome {
    match (value, owner) {
        (None, _) => Outcome::No,
        (Some(_), None) => Outcome::DependsOnOwner,
        (Some(value), Some(owner)) => test(value, owner).into(),
    }
}

fn body<'a>(event: &EventView<'a>) -> Option<&'a str> {
    event.content.get("body")?.as_str()
}

fn contains(path: &Path, event: &EventView<'_>, expected: &Scalar) -> bool {
    path.array(event).is_some_and(|values| values.iter().any(|value| scalar_equals(value, expected)))
}

fn may_notify(event: &EventView<'_>, room: &RoomContext<'_>, key: &str) -> bool {
    let Some(levels) = room.power_levels else {
        return false;
    };
    levels.user_by_str(event.sender) >= levels.notification(key)
}

impl Comparison {
    fn holds(self, count: u64, bound: u64) -> bool {
        match self {
            Self::Equal => count == bound,
            Self::Less => count < bound,
            Self::Greater => count > bound,
            Self::AtLeast => count >= bound,
            Self::AtMost => count <= bound,
        }
    }
}
