//! The rule set in the format of the client-server API.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The kinds of rules, in the order of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// Rules with conditions, of the highest priority.
    Override,
    /// Rules with a pattern over `content.body`.
    Content,
    /// Rules with conditions, after those of kind [`Self::Content`] (MSC4306).
    Postcontent,
    /// Rules for all events of the room whose id is the rule id.
    Room,
    /// Rules for all events of the sender whose id is the rule id.
    Sender,
    /// Rules with conditions, of the lowest priority.
    Underride,
}

impl RuleKind {
    /// Every kind, in the order of evaluation.
    pub const ALL: [Self; 6] =
        [Self::Override, Self::Content, Self::Postcontent, Self::Room, Self::Sender, Self::Underride];

    /// Returns the name in paths and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Content => "content",
            Self::Postcontent => "postcontent",
            Self::Room => "room",
            Self::Sender => "sender",
            Self::Underride => "underride",
        }
    }

    /// Parses the name; `None` for an unknown one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// All rules of a user: the content of `global` in `m.push_rules`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ruleset {
    /// Rules of kind [`RuleKind::Override`].
    #[serde(rename = "override")]
    pub override_: Vec<PushRule>,
    /// Rules of kind [`RuleKind::Content`].
    pub content: Vec<PushRule>,
    /// Rules of kind [`RuleKind::Postcontent`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub postcontent: Vec<PushRule>,
    /// Rules of kind [`RuleKind::Room`].
    pub room: Vec<PushRule>,
    /// Rules of kind [`RuleKind::Sender`].
    pub sender: Vec<PushRule>,
    /// Rules of kind [`RuleKind::Underride`].
    pub underride: Vec<PushRule>,
}

impl Ruleset {
    /// Returns the rules of a kind, highest priority first.
    pub fn rules(&self, kind: RuleKind) -> &[PushRule] {
        match kind {
            RuleKind::Override => &self.override_,
            RuleKind::Content => &self.content,
            RuleKind::Postcontent => &self.postcontent,
            RuleKind::Room => &self.room,
            RuleKind::Sender => &self.sender,
            RuleKind::Underride => &self.underride,
        }
    }

    /// Returns the rules of a kind, highest priority first.
    pub fn rules_mut(&mut self, kind: RuleKind) -> &mut Vec<PushRule> {
        match kind {
            RuleKind::Override => &mut self.override_,
            RuleKind::Content => &mut self.content,
            RuleKind::Postcontent => &mut self.postcontent,
            RuleKind::Room => &mut self.room,
            RuleKind::Sender => &mut self.sender,
            RuleKind::Underride => &mut self.underride,
        }
    }

    /// Returns the rule of this kind and id.
    pub fn get(&self, kind: RuleKind, rule_id: &str) -> Option<&PushRule> {
        self.rules(kind).iter().find(|rule| rule.rule_id == rule_id)
    }

    /// Iterates over all rules in the order of evaluation.
    pub fn iter(&self) -> impl Iterator<Item = (RuleKind, &PushRule)> {
        RuleKind::ALL.into_iter().flat_map(move |kind| self.rules(kind).iter().map(move |rule| (kind, rule)))
    }
}

/// One push rule. Only override, postcontent and underride rules have `conditions`, only content rules a `pattern`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PushRule {
    /// Unique within its kind; starts with `.` only for server-default rules.
    pub rule_id: String,
    /// Whether it is a server-default rule.
    #[serde(default)]
    pub default: bool,
    /// Whether it is enabled; a disabled rule never matches.
    #[serde(default = "enabled_by_default")]
    pub enabled: bool,
    /// The rule matches if all of them hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// Glob over `content.body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What to do; an empty list means not to notify.
    pub actions: Vec<Action>,
}

fn enabled_by_default() -> bool {
    true
}

/// One action of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Action {
    /// An action without parameters: `"notify"`.
    Name(ActionName),
    /// Sets one entry of the `tweaks` for the push gateway.
    SetTweak(SetTweak),
    /// An unknown action, kept as it was written and without effect. Clients cannot set it.
    Unknown(Value),
}

/// Actions that are a bare word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionName {
    /// Notify the user.
    Notify,
    /// No effect, like having no action
    /// ([Historical Actions](https://spec.matrix.org/v1.19/client-server-api/#historical-actions)). Clients expect it
    /// back.
    DontNotify,
    /// No effect, like [`Self::DontNotify`].
    Coalesce,
}

/// `{"set_tweak": "sound", "value": "default"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetTweak {
    /// The name of the tweak.
    pub set_tweak: String,
    /// The tweak's value; a `highlight` without one is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

impl Action {
    /// The `notify` action.
    pub const NOTIFY: Self = Self::Name(ActionName::Notify);

    /// Returns the `highlight` tweak.
    pub fn highlight() -> Self {
        Self::SetTweak(SetTweak { set_tweak: "highlight".to_owned(), value: None })
    }

    /// Returns the `highlight` tweak with the value false.
    pub fn no_highlight() -> Self {
        Self::SetTweak(SetTweak { set_tweak: "highlight".to_owned(), value: Some(false.into()) })
    }

    /// Returns the `sound` tweak.
    pub fn sound(name: &str) -> Self {
        Self::SetTweak(SetTweak { set_tweak: "sound".to_owned(), value: Some(name.into()) })
    }
}

/// One condition of an override, postcontent or underride rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    /// A condition that this program knows.
    Known(KnownCondition),
    /// Any other condition: kept as it was written, never matches.
    Unknown(Value),
}

/// The specification's [conditions](https://spec.matrix.org/v1.19/client-server-api/#conditions-1), and the supported
/// unstable ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KnownCondition {
    /// A glob on a string property.
    EventMatch {
        /// The dot-separated path.
        key: String,
        /// The glob.
        pattern: String,
    },
    /// The exact value of a property.
    EventPropertyIs {
        /// The dot-separated path.
        key: String,
        /// The value to compare with.
        value: Scalar,
    },
    /// An element of an array property.
    EventPropertyContains {
        /// The dot-separated path.
        key: String,
        /// The value to compare with.
        value: Scalar,
    },
    /// `content.body` contains the owner's display name in the room.
    ContainsDisplayName,
    /// The number of joined members.
    RoomMemberCount {
        /// A number, optionally prefixed by `==`, `<`, `>`, `>=` or `<=`.
        is: String,
    },
    /// The sender's power level is high enough for this kind of notification.
    SenderNotificationPermission {
        /// A key of `notifications` in `m.room.power_levels`.
        key: String,
    },
    /// MSC4306: the event is in a thread that the owner has subscribed to, or has not.
    #[serde(rename = "io.element.msc4306.thread_subscription")]
    ThreadSubscription {
        /// Whether the owner has to have subscribed.
        subscribed: bool,
    },
    /// MSC3931: the room version has a feature. No supported room version has any, so it never matches.
    #[serde(rename = "org.matrix.msc3931.room_version_supports")]
    RoomVersionSupports {
        /// The name of the feature.
        feature: String,
    },
}

/// A value that `event_property_is` can compare.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A string.
    String(String),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Bool(bool),
    /// `null`.
    Null,
}
