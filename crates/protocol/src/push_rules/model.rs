//! The rule set as the client API reads and writes it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The kinds of rule, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// Highest priority, with conditions.
    Override,
    /// A pattern over `content.body`.
    Content,
    /// All events of the room that is the rule's id.
    Room,
    /// All events of the sender that is the rule's id.
    Sender,
    /// Lowest priority, with conditions.
    Underride,
}

impl RuleKind {
    /// Every kind, in the order in which they are tried.
    pub const ALL: [Self; 5] = [Self::Override, Self::Content, Self::Room, Self::Sender, Self::Underride];

    /// The name in paths and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Content => "content",
            Self::Room => "room",
            Self::Sender => "sender",
            Self::Underride => "underride",
        }
    }

    /// The kind of this name; `None` for an unknown one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// All rules of one user: the content of `global` in `m.push_rules`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ruleset {
    /// [`RuleKind::Override`].
    #[serde(rename = "override")]
    pub override_: Vec<PushRule>,
    /// [`RuleKind::Content`].
    pub content: Vec<PushRule>,
    /// [`RuleKind::Room`].
    pub room: Vec<PushRule>,
    /// [`RuleKind::Sender`].
    pub sender: Vec<PushRule>,
    /// [`RuleKind::Underride`].
    pub underride: Vec<PushRule>,
}

impl Ruleset {
    /// The rules of a kind, highest priority first.
    pub fn rules(&self, kind: RuleKind) -> &[PushRule] {
        match kind {
            RuleKind::Override => &self.override_,
            RuleKind::Content => &self.content,
            RuleKind::Room => &self.room,
            RuleKind::Sender => &self.sender,
            RuleKind::Underride => &self.underride,
        }
    }

    /// The rules of a kind, highest priority first.
    pub fn rules_mut(&mut self, kind: RuleKind) -> &mut Vec<PushRule> {
        match kind {
            RuleKind::Override => &mut self.override_,
            RuleKind::Content => &mut self.content,
            RuleKind::Room => &mut self.room,
            RuleKind::Sender => &mut self.sender,
            RuleKind::Underride => &mut self.underride,
        }
    }

    /// The rule of this kind and id.
    pub fn get(&self, kind: RuleKind, rule_id: &str) -> Option<&PushRule> {
        self.rules(kind).iter().find(|rule| rule.rule_id == rule_id)
    }

    /// Every rule in the order of evaluation.
    pub fn iter(&self) -> impl Iterator<Item = (RuleKind, &PushRule)> {
        RuleKind::ALL.into_iter().flat_map(move |kind| self.rules(kind).iter().map(move |rule| (kind, rule)))
    }
}

/// One push rule. `conditions` belongs to override and underride rules, `pattern` to content rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PushRule {
    /// Unique within its kind; starts with `.` exactly for the server's own rules.
    pub rule_id: String,
    /// Whether it is one of the server's own rules.
    #[serde(default)]
    pub default: bool,
    /// A disabled rule never matches.
    #[serde(default = "enabled_by_default")]
    pub enabled: bool,
    /// All of them must hold; none at all always holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// Glob over `content.body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What to do; an empty list is "do not notify".
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
    /// Sets one entry of the `tweaks` that are passed to the push gateway.
    SetTweak(SetTweak),
    /// Something that this program does not know, kept as it was written and without effect. Clients cannot set it.
    Unknown(Value),
}

/// Actions that are a bare word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionName {
    /// Generate a notification.
    Notify,
    /// Nothing: no action at all says the same (Client-Server API, "Historical Actions"). Clients expect it back.
    DontNotify,
    /// Nothing, as [`Self::DontNotify`].
    Coalesce,
}

/// `{"set_tweak": "sound", "value": "default"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetTweak {
    /// Name of the tweak.
    pub set_tweak: String,
    /// Its value; a `highlight` without one is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

impl Action {
    /// The `notify` action.
    pub const NOTIFY: Self = Self::Name(ActionName::Notify);

    /// The `highlight` tweak.
    pub fn highlight() -> Self {
        Self::SetTweak(SetTweak { set_tweak: "highlight".to_owned(), value: None })
    }

    /// The `highlight` tweak, saying no.
    pub fn no_highlight() -> Self {
        Self::SetTweak(SetTweak { set_tweak: "highlight".to_owned(), value: Some(false.into()) })
    }

    /// The `sound` tweak.
    pub fn sound(name: &str) -> Self {
        Self::SetTweak(SetTweak { set_tweak: "sound".to_owned(), value: Some(name.into()) })
    }
}

/// One condition of an override or underride rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    /// A condition of the specification.
    Known(KnownCondition),
    /// Anything else: kept as it was written, matches no event.
    Unknown(Value),
}

/// The conditions of the specification, and the unstable ones that are understood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KnownCondition {
    /// Glob on a string property.
    EventMatch {
        /// Dot-separated path.
        key: String,
        /// The glob.
        pattern: String,
    },
    /// Exact value of a property.
    EventPropertyIs {
        /// Dot-separated path.
        key: String,
        /// String, integer, boolean or null.
        value: Scalar,
    },
    /// Exact value among those of an array.
    EventPropertyContains {
        /// Dot-separated path.
        key: String,
        /// String, integer, boolean or null.
        value: Scalar,
    },
    /// `content.body` contains the owner's display name in the room.
    ContainsDisplayName,
    /// Number of joined members.
    RoomMemberCount {
        /// A number, with `==`, `<`, `>`, `>=` or `<=` before it.
        is: String,
    },
    /// The sender's power level suffices for this kind of notification.
    SenderNotificationPermission {
        /// A key of `notifications` in `m.room.power_levels`.
        key: String,
    },
    /// MSC3931: the room version has a feature. No room version known here has any, so it never matches.
    #[serde(rename = "org.matrix.msc3931.room_version_supports")]
    RoomVersionSupports {
        /// Name of the feature.
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
