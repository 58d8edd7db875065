//! Reading and changing a user's push rules.

use plexus_protocol::id::UserId;
use plexus_protocol::push_rules::{
    Action, NewRule, Placement, RuleKind, Ruleset, UserRules, UserRulesError, default_ruleset_with_legacy_mentions,
};
use plexus_store::{Database, DbError, repo};

use crate::settings::{merged, parse_rules};

/// A change to a user's push rules.
#[derive(Debug, Clone)]
pub enum RuleChange {
    /// Adds a rule, or changes the one with this id.
    Put {
        rule: NewRule,
        /// Place it directly before this rule.
        before: Option<String>,
        /// Place it directly after this rule.
        after: Option<String>,
    },
    Delete,
    Enable(bool),
    SetActions(Vec<Action>),
}

/// Why the rules were not changed.
#[derive(Debug, thiserror::Error)]
pub enum PushRulesError {
    #[error(transparent)]
    Refused(#[from] UserRulesError),
    #[error(transparent)]
    Database(#[from] DbError),
}

/// All push rules of a user, the predefined ones included.
pub async fn of_user(db: &Database, user: &UserId) -> Result<Ruleset, DbError> {
    let key = user.to_string();
    let stored = db.read(move |tx| repo::push_rules::get(tx, &key)).await?;
    merged(user, stored.as_ref().map(|(rules, _)| rules.as_str()))
}

/// The content of `m.push_rules`: all rules, under `global`.
pub fn content(rules: &Ruleset) -> Result<String, DbError> {
    let rules = serde_json::to_string(rules).map_err(|error| DbError::bad_data("push_rules", error))?;
    Ok(format!("{{\"global\":{rules}}}"))
}

/// Changes one rule.
pub async fn change(
    db: &Database,
    user: &UserId,
    kind: RuleKind,
    rule_id: &str,
    change: RuleChange,
) -> Result<(), PushRulesError> {
    let (user, rule_id) = (user.clone(), rule_id.to_owned());
    db.write(move |tx| {
        let stored = repo::push_rules::get(tx, user.as_str())?;
        let mut rules = parse_rules(&user, stored.as_ref().map(|(rules, _)| rules.as_str()))?;
        apply(&mut rules, &user, kind, &rule_id, change)?;
        let rules = serde_json::to_string(&rules).map_err(|error| DbError::bad_data("push_rules.changes", error))?;
        repo::push_rules::set(tx, &user, &rules)?;
        Ok(())
    })
    .await
}

fn apply(
    rules: &mut UserRules,
    user: &UserId,
    kind: RuleKind,
    rule_id: &str,
    change: RuleChange,
) -> Result<(), UserRulesError> {
    let defaults = default_ruleset_with_legacy_mentions(user);
    match change {
        RuleChange::Put { rule, before, after } => {
            let placement = match (&before, &after) {
                (Some(before), _) => Placement::Before(before),
                (None, Some(after)) => Placement::After(after),
                (None, None) => Placement::Unspecified,
            };
            rules.put(kind, rule_id, rule, placement)
        }
        RuleChange::Delete => rules.remove(kind, rule_id),
        RuleChange::Enable(enabled) => rules.set_enabled(&defaults, kind, rule_id, enabled),
        RuleChange::SetActions(actions) => rules.set_actions(&defaults, kind, rule_id, actions),
    }
}
