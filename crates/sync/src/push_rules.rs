//! Reading and changing a user's push rules.

use plexus_protocol::id::UserId;
use plexus_protocol::push_rules::{
    Action, Condition, KnownCondition, NewRule, Placement, PushRule, RuleKind, Ruleset, UserRules, UserRulesError,
};
use plexus_store::{Database, DbError, repo};

use crate::settings::{PredefinedRules, parse_rules, readable_or_default};

/// A change to a user's push rules.
#[derive(Debug, Clone)]
pub enum RuleChange {
    /// Adds a rule, or changes the one with this id.
    Put {
        /// The rule as the client wrote it.
        rule: NewRule,
        /// Place it directly before this rule.
        before: Option<String>,
        /// Place it directly after this rule.
        after: Option<String>,
        /// The limits that the user's rules must keep afterwards.
        limits: RuleLimits,
    },
    /// Delete the rule.
    Delete,
    /// Turn the rule on or off.
    Enable(bool),
    /// Replace the rule's actions.
    SetActions {
        /// The new actions.
        actions: Vec<Action>,
        /// The limits that the user's rules must keep afterwards.
        limits: RuleLimits,
    },
}

/// How much a user's own rules may search messages for, in pieces of [`PIECE_CHARS`]: a thousand keywords. Each is
/// searched for in up to 64 KiB, once for every message in each of the user's rooms.
const MAX_SEARCHED_PIECES: usize = 1_000;
/// The characters of a pattern that one search goes through (see `plexus_protocol::glob`).
const PIECE_CHARS: usize = 64;

/// `push_rules.limits`
#[derive(Debug, Clone, Copy)]
pub struct RuleLimits {
    /// The most rules of their own that a user may have.
    pub count: usize,
    /// The longest `global/{kind}/{rule id}`, bytes.
    pub id_length: usize,
    /// The largest rule: conditions and actions, bytes of JSON.
    pub size: usize,
}

/// Why the rules were not changed.
#[derive(Debug, thiserror::Error)]
pub enum PushRulesError {
    /// There is no such rule, or it cannot be changed in this way.
    #[error(transparent)]
    Refused(#[from] UserRulesError),
    /// The id is too long: its bytes, and the most.
    #[error("The ID of the rule is too long: {0} bytes, of {1} allowed")]
    IdTooLong(usize, usize),
    /// The rule is too large: its bytes, and the most.
    #[error("The rule is too large: {0} bytes, of {1} allowed")]
    TooLarge(usize, usize),
    /// The user has as many rules as allowed.
    #[error("You cannot have more than {0} push rules")]
    TooMany(usize),
    /// The user's rules would search messages for too much text.
    #[error("Your push rules would look for too much text in every message")]
    TooManySearches,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Returns all push rules of a user, the predefined ones included.
pub async fn of_user(db: &Database, user: &UserId, predefined: PredefinedRules) -> Result<Ruleset, DbError> {
    let key = user.to_string();
    let stored = db.read(move |tx| repo::push_rules::get(tx, &key)).await?;
    Ok(readable_or_default(user, stored.as_ref().map(|(rules, _)| rules.as_str()), predefined))
}

/// Returns the content of `m.push_rules`: all rules, under `global`.
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
    predefined: PredefinedRules,
) -> Result<(), PushRulesError> {
    if !predefined.has_kind(kind) {
        return Err(UserRulesError::NotFound.into());
    }
    let (user, rule_id) = (user.clone(), rule_id.to_owned());
    db.write(move |tx| {
        let stored = repo::push_rules::get(tx, user.as_str())?;
        let mut rules = parse_rules(&user, stored.as_ref().map(|(rules, _)| rules.as_str()))?;
        let before = rules.own_rules().iter().count();
        let limits = match change {
            RuleChange::Put { limits, .. } | RuleChange::SetActions { limits, .. } => Some(limits),
            RuleChange::Delete | RuleChange::Enable(_) => None,
        };
        apply(&mut rules, &predefined.of(&user), kind, &rule_id, change)?;
        if let Some(limits) = limits {
            within(limits, rules.own_rules(), before, kind, &rule_id)?;
        }
        let rules = serde_json::to_string(&rules).map_err(|error| DbError::bad_data("push_rules.changes", error))?;
        repo::push_rules::set(tx, &user, &rules)?;
        Ok(())
    })
    .await
}

/// Checks the limits of a user's own rules after `kind` and `rule_id` has been put, or its actions set.
fn within(
    limits: RuleLimits,
    rules: &Ruleset,
    before: usize,
    kind: RuleKind,
    rule_id: &str,
) -> Result<(), PushRulesError> {
    let Some(rule) = rules.get(kind, rule_id) else { return Ok(()) };
    let id_length = "global//".len() + kind.as_str().len() + rule_id.len();
    if id_length > limits.id_length {
        return Err(PushRulesError::IdTooLong(id_length, limits.id_length));
    }
    let json = |value: Result<String, serde_json::Error>| {
        value.map(|json| json.len()).map_err(|error| DbError::bad_data("push_rules", error))
    };
    let conditions = serde_json::to_string(&(rule.conditions.as_deref().unwrap_or_default(), &rule.pattern));
    let size = json(conditions)? + json(serde_json::to_string(&rule.actions))?;
    if size > limits.size {
        return Err(PushRulesError::TooLarge(size, limits.size));
    }
    let count = rules.iter().count();
    if count > before && count > limits.count {
        return Err(PushRulesError::TooMany(limits.count));
    }
    if searched_pieces(rules) > MAX_SEARCHED_PIECES {
        return Err(PushRulesError::TooManySearches);
    }
    Ok(())
}

/// Returns how much the rules look for anywhere in a value, and not only at its beginning, in pieces of
/// [`PIECE_CHARS`].
fn searched_pieces(rules: &Ruleset) -> usize {
    let pieces = |pattern: &str| pattern.len().div_ceil(PIECE_CHARS).max(1);
    let of_condition = |condition: &Condition| match condition {
        Condition::Known(KnownCondition::EventMatch { key, pattern })
            if key == "content.body" || pattern.contains('*') =>
        {
            pieces(pattern)
        }
        _ => 0,
    };
    let of_rule = |rule: &PushRule| {
        let conditions = rule.conditions.iter().flatten().map(of_condition).sum::<usize>();
        conditions + rule.pattern.as_deref().map_or(0, pieces)
    };
    rules.iter().map(|(_, rule)| of_rule(rule)).sum()
}

fn apply(
    rules: &mut UserRules,
    defaults: &Ruleset,
    kind: RuleKind,
    rule_id: &str,
    change: RuleChange,
) -> Result<(), UserRulesError> {
    match change {
        RuleChange::Put { rule, before, after, .. } => {
            let placement = match (&before, &after) {
                (Some(before), _) => Placement::Before(before),
                (None, Some(after)) => Placement::After(after),
                (None, None) => Placement::Unspecified,
            };
            rules.put(kind, rule_id, rule, placement)
        }
        RuleChange::Delete => rules.remove(kind, rule_id),
        RuleChange::Enable(enabled) => rules.set_enabled(defaults, kind, rule_id, enabled),
        RuleChange::SetActions { actions, .. } => rules.set_actions(defaults, kind, rule_id, actions),
    }
}
