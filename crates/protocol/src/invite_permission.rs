//! Which invites a user accepts: blocking them all
//! ([Invite permission](https://spec.matrix.org/v1.19/client-server-api/#invite-permission)), and filtering them by
//! their sender ([MSC4155](https://github.com/matrix-org/matrix-spec-proposals/pull/4155)).

use serde_json::Value;

use crate::{glob::Pattern, id::UserId};

/// The account data that blocks all invites.
pub const BLOCKING: &str = "m.invite_permission_config";
/// The account data that filters invites.
pub const FILTERING: &str = "org.matrix.msc4155.invite_permission_config";

/// The longest pattern, in bytes: no user id is longer.
const MAX_PATTERN_BYTES: usize = 255;

/// What becomes of an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteDecision {
    /// The user is invited.
    Allow,
    /// The user is invited, and does not learn of it.
    Ignore,
    /// The inviter gets an error.
    Block,
}

/// The invites that a user accepts; all of them by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvitePermissions {
    blocks_all: bool,
    /// The first rule that matches decides.
    filter: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    /// Whether the pattern is compared with the inviter's server, without its port, instead of the inviter.
    of_servers: bool,
    decision: InviteDecision,
}

impl InvitePermissions {
    /// Reads the contents of a user's account data [`BLOCKING`] and [`FILTERING`], JSON. An unknown action of the
    /// former
    /// is ignored; the latter is ignored if one of its lists is not a list of strings.
    #[must_use]
    pub fn from_account_data(blocking: Option<&str>, filtering: Option<&str>) -> Self {
        let parse = |content: &str| serde_json::from_str::<Value>(content).ok();
        let blocks_all = |content: Value| content["default_action"].as_str() == Some("block");
        Self {
            blocks_all: blocking.and_then(parse).is_some_and(blocks_all),
            filter: filtering.and_then(parse).and_then(|content| filter(&content)).unwrap_or_default(),
        }
    }

    /// Returns what becomes of an invite by `inviter`.
    #[must_use]
    pub fn decide(&self, inviter: &UserId) -> InviteDecision {
        if self.blocks_all {
            return InviteDecision::Block;
        }
        let matches = |rule: &&Rule| {
            let compared = if rule.of_servers { inviter.server_host() } else { inviter.as_str() };
            rule.pattern.matches(compared)
        };
        self.filter.iter().find(matches).map_or(InviteDecision::Allow, |rule| rule.decision)
    }
}

/// Returns the rules of a filter in the order of MSC4155: rules about users come first. `None`: there are none, or the
/// filter is invalid. The size of account data bounds their number.
fn filter(content: &Value) -> Option<Vec<Rule>> {
    if content["enabled"].as_bool() == Some(false) {
        return None;
    }
    let lists = [
        ("allowed_users", false, InviteDecision::Allow),
        ("ignored_users", false, InviteDecision::Ignore),
        ("blocked_users", false, InviteDecision::Block),
        ("allowed_servers", true, InviteDecision::Allow),
        ("ignored_servers", true, InviteDecision::Ignore),
        ("blocked_servers", true, InviteDecision::Block),
    ];
    let mut rules = Vec::new();
    for (name, of_servers, decision) in lists {
        let Some(listed) = content.get(name) else { continue };
        for glob in listed.as_array()? {
            let glob = glob.as_str()?;
            if !glob.is_empty() && glob.len() <= MAX_PATTERN_BYTES {
                rules.push(Rule { pattern: Pattern::whole(glob), of_servers, decision });
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(blocking: &str, filtering: &str, inviter: &str) -> InviteDecision {
        InvitePermissions::from_account_data(Some(blocking), Some(filtering)).decide(&inviter.parse().unwrap())
    }

    #[test]
    fn blocking_goes_before_filtering() {
        let allowing = r#"{"allowed_users":["*"]}"#;
        for (blocking, expected) in [
            (r#"{"default_action":"block"}"#, InviteDecision::Block),
            (r#"{"default_action":"allow"}"#, InviteDecision::Allow),
            (r#"{"default_action":["block"]}"#, InviteDecision::Allow),
            (r#"{"default_action":"block","since":1.5}"#, InviteDecision::Block),
            ("{}", InviteDecision::Allow),
            ("[]", InviteDecision::Allow),
        ] {
            assert_eq!(decide(blocking, allowing, "@a:x"), expected, "{blocking}");
        }
        assert_eq!(InvitePermissions::default().decide(&"@a:x".parse().unwrap()), InviteDecision::Allow);
    }

    #[test]
    fn the_first_matching_rule_of_a_filter_decides() {
        let filtering = r#"{
            "allowed_users":["@friend:evil.example"], "ignored_users":["@bore*:*", ""],
            "blocked_users":["@friend:*","@bored:*"],
            "allowed_servers":["good.example"], "ignored_servers":["*.example"], "blocked_servers":["*"]
        }"#;
        for (inviter, expected) in [
            ("@friend:evil.example", InviteDecision::Allow),
            ("@friend:good.example", InviteDecision::Block),
            ("@bored:good.example", InviteDecision::Ignore),
            ("@else:good.example", InviteDecision::Allow),
            ("@else:evil.example", InviteDecision::Ignore),
            ("@else:elsewhere", InviteDecision::Block),
            ("@else:good.example:8448", InviteDecision::Allow),
            ("@else:evil.example:8448", InviteDecision::Ignore),
        ] {
            assert_eq!(decide("{}", filtering, inviter), expected, "{inviter}");
        }
    }

    #[test]
    fn a_filter_that_is_off_or_malformed_allows() {
        for filtering in [
            r#"{"enabled":false,"blocked_users":["*"]}"#,
            r#"{"blocked_users":"*","blocked_servers":{"*":{}}}"#,
            r#"{"blocked_users":["*", 7]}"#,
            r#"{"blocked_users":["*"],"allowed_servers":null}"#,
            &format!(r#"{{"blocked_users":["{}"]}}"#, "*".repeat(MAX_PATTERN_BYTES + 1)),
        ] {
            assert_eq!(decide("{}", filtering, "@a:x"), InviteDecision::Allow, "{filtering}");
        }
        assert_eq!(decide("{}", r#"{"enabled":true,"blocked_users":["*"]}"#, "@a:x"), InviteDecision::Block);
    }
}
