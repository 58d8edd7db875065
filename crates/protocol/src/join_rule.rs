//! Join rules: how users get into a room
//! ([`m.room.join_rules`](https://spec.matrix.org/v1.19/client-server-api/#mroomjoin_rules)).

use crate::{json::Object, rules::AuthRules};

/// The value of `join_rule` in an `m.room.join_rules` event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JoinRule {
    /// Anybody may join.
    Public,
    /// Invited users may join. Applies when the room has no join rules.
    #[default]
    Invite,
    /// Invited users may join, and anybody may knock (room version 7 and later).
    Knock,
    /// Invited users and members of the rooms in `allow` may join (room version 8 and later).
    Restricted,
    /// Like `Restricted`, and anybody may knock (room version 10 and later).
    KnockRestricted,
    /// Reserved by the specification; nobody may join.
    Private,
    /// An unknown value; nobody may join.
    Unknown,
}

impl JoinRule {
    /// Reads the content of the `m.room.join_rules` event; `None` when there is no event.
    pub fn of(content: Option<&Object>) -> Self {
        let Some(rule) = content.and_then(|content| content.get("join_rule")) else { return Self::default() };
        match rule.as_str() {
            Some("public") => Self::Public,
            Some("invite") => Self::Invite,
            Some("knock") => Self::Knock,
            Some("restricted") => Self::Restricted,
            Some("knock_restricted") => Self::KnockRestricted,
            Some("private") => Self::Private,
            _ => Self::Unknown,
        }
    }

    /// Returns the rule as a room version understands it.
    pub fn in_version(self, rules: &AuthRules) -> Self {
        match self {
            Self::Knock if !rules.knocking => Self::Unknown,
            Self::Restricted if !rules.restricted_joins => Self::Unknown,
            Self::KnockRestricted if !rules.knock_restricted => Self::Unknown,
            known => known,
        }
    }

    /// Returns the value of `join_rule`. An unknown rule is shown as `invite`, the closest one that every client
    /// understands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Invite | Self::Unknown => "invite",
            Self::Knock => "knock",
            Self::Restricted => "restricted",
            Self::KnockRestricted => "knock_restricted",
            Self::Private => "private",
        }
    }
}
