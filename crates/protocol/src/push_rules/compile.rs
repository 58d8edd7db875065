//! Rule sets prepared for evaluation: patterns and paths are parsed once, and the owner's id and localpart are
//! abstracted so that users with the same rules share one compiled set.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
};

use serde_json::Value;

use super::{
    defaults::LEGACY_MENTION_RULES,
    event_path::Path,
    model::{Action, Condition, KnownCondition, PushRule, RuleKind, Ruleset, Scalar},
};
use crate::{glob::Pattern, id::UserId};

/// The actions of a matching rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Actions {
    /// Whether to notify.
    pub notify: bool,
    /// Whether to highlight; never without `notify`.
    pub highlight: bool,
    /// The sound to play.
    pub sound: Option<String>,
    /// The actions as the rule has them, for push gateways and `GET /notifications`.
    pub all: Vec<Action>,
}

impl Actions {
    fn new(actions: &[Action]) -> Self {
        let notify = actions.contains(&Action::NOTIFY);
        let tweak = |name: &str| {
            actions.iter().find_map(|action| match action {
                Action::SetTweak(tweak) if tweak.set_tweak == name => Some(tweak.value.as_ref()),
                _ => None,
            })
        };
        let highlight = match tweak("highlight") {
            // "If a highlight tweak is given with no value, its value is defined to be true."
            Some(None) => true,
            Some(Some(value)) => value == &Value::Bool(true),
            None => false,
        };
        let sound = tweak("sound").flatten().and_then(Value::as_str).map(str::to_owned);
        Self { notify, highlight: notify && highlight, sound, all: actions.to_vec() }
    }
}

/// A rule set ready for evaluation. Users whose rules differ only in their own id and localpart get equal ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CompiledRuleset {
    /// Override rules, in order.
    pub(super) overrides: Vec<Rule>,
    /// Content rules, in order.
    pub(super) contents: Vec<Rule>,
    /// Postcontent rules, in order.
    pub(super) postcontents: Vec<Rule>,
    /// Room rules by room id, since there can be many.
    pub(super) rooms: HashMap<String, Rule>,
    /// Sender rules by user id.
    pub(super) senders: HashMap<String, Rule>,
    /// Underride rules, in order.
    pub(super) underrides: Vec<Rule>,
    pub(super) nothing: Actions,
}

impl Eq for CompiledRuleset {}

impl Hash for CompiledRuleset {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for rule in self.overrides.iter().chain(&self.contents).chain(&self.postcontents).chain(&self.underrides) {
            rule.rule_id.hash(state);
            rule.tests.hash(state);
        }
        self.rooms.len().hash(state);
        self.senders.len().hash(state);
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) rule_id: String,
    pub(super) tests: Vec<Test>,
    pub(super) actions: Actions,
    /// Whether the rule does not apply to events with `m.mentions`.
    pub(super) legacy_mention: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Test {
    Match(Path, Pattern),
    MatchOwnId(Path),
    MatchOwnLocalpart(Path),
    Is(Path, Scalar),
    Contains(Path, Scalar),
    ContainsOwnId(Path),
    DisplayName,
    MemberCount(Comparison, u64),
    NotificationPermission(String),
    ThreadSubscription(bool),
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    Equal,
    Less,
    Greater,
    AtLeast,
    AtMost,
}

impl CompiledRuleset {
    /// Compiles the enabled rules of `owner`.
    pub fn new(rules: &Ruleset, owner: &UserId) -> Self {
        let in_order =
            |kind: RuleKind| rules.rules(kind).iter().filter(|rule| rule.enabled).map(move |r| compile(kind, r, owner));
        let by_id = |kind: RuleKind| {
            // The first of two rules with the same id wins, as in order.
            let mut map = HashMap::new();
            for rule in in_order(kind) {
                map.entry(rule.rule_id.clone()).or_insert(rule);
            }
            map
        };
        Self {
            overrides: in_order(RuleKind::Override).collect(),
            contents: in_order(RuleKind::Content).collect(),
            postcontents: in_order(RuleKind::Postcontent).collect(),
            rooms: by_id(RuleKind::Room),
            senders: by_id(RuleKind::Sender),
            underrides: in_order(RuleKind::Underride).collect(),
            nothing: Actions::default(),
        }
    }
}

fn compile(kind: RuleKind, rule: &PushRule, owner: &UserId) -> Rule {
    let tests = match kind {
        RuleKind::Override | RuleKind::Postcontent | RuleKind::Underride => {
            rule.conditions.iter().flatten().map(|condition| test(condition, owner)).collect()
        }
        RuleKind::Content => {
            vec![event_match("content.body", rule.pattern.as_deref(), rule.default, owner)]
        }
        RuleKind::Room | RuleKind::Sender => Vec::new(),
    };
    Rule {
        rule_id: rule.rule_id.clone(),
        tests,
        actions: Actions::new(&rule.actions),
        legacy_mention: LEGACY_MENTION_RULES.contains(&rule.rule_id.as_str()),
    }
}

fn test(condition: &Condition, owner: &UserId) -> Test {
    let Condition::Known(condition) = condition else {
        return Test::Never;
    };
    match condition {
        KnownCondition::EventMatch { key, pattern } => event_match(key, Some(pattern), false, owner),
        KnownCondition::EventPropertyIs { key, value } => Test::Is(Path::parse(key), value.clone()),
        KnownCondition::EventPropertyContains { key, value: Scalar::String(value) } if value == owner.as_str() => {
            Test::ContainsOwnId(Path::parse(key))
        }
        KnownCondition::EventPropertyContains { key, value } => Test::Contains(Path::parse(key), value.clone()),
        KnownCondition::ContainsDisplayName => Test::DisplayName,
        KnownCondition::RoomMemberCount { is } => {
            member_count(is).map_or(Test::Never, |(comparison, n)| Test::MemberCount(comparison, n))
        }
        KnownCondition::SenderNotificationPermission { key } => Test::NotificationPermission(key.clone()),
        KnownCondition::ThreadSubscription { subscribed } => Test::ThreadSubscription(*subscribed),
        KnownCondition::RoomVersionSupports { .. } => Test::Never,
    }
}

/// `own_localpart`: whether the pattern of a server-default content rule is the owner's localpart, taken literally.
fn event_match(key: &str, pattern: Option<&str>, own_localpart: bool, owner: &UserId) -> Test {
    let Some(pattern) = pattern else {
        return Test::Never;
    };
    let path = Path::parse(key);
    if own_localpart && pattern == owner.localpart() {
        return Test::MatchOwnLocalpart(path);
    }
    if path.is_body() {
        return Test::Match(path, Pattern::words(pattern));
    }
    if pattern == owner.as_str() && !pattern.contains(['*', '?']) {
        return Test::MatchOwnId(path);
    }
    Test::Match(path, Pattern::whole(pattern))
}

/// "A decimal integer optionally prefixed by one of `==`, `<`, `>`, `>=` or `<=`".
fn member_count(is: &str) -> Option<(Comparison, u64)> {
    let digits = is.find(|c: char| c.is_ascii_digit())?;
    let (prefix, number) = is.split_at_checked(digits)?;
    let comparison = match prefix {
        "" | "==" => Comparison::Equal,
        "<" => Comparison::Less,
        ">" => Comparison::Greater,
        ">=" => Comparison::AtLeast,
        "<=" => Comparison::AtMost,
        _ => return None,
    };
    number.parse().ok().map(|number| (comparison, number))
}
