//! A user's changes to the rules: rules of their own, and changes to the server-default ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    defaults::MASTER,
    model::{Action, Condition, KnownCondition, PushRule, RuleKind, Ruleset},
};

/// The part of a user's rules that has to be stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRules {
    /// The user's own rules, highest priority first within their kind.
    #[serde(flatten)]
    rules: Ruleset,
    /// Changes to server-default rules, by kind and rule id.
    changes: BTreeMap<RuleKind, BTreeMap<String, DefaultRuleChange>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct DefaultRuleChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<Action>>,
}

/// The body of `PUT /pushrules/global/{kind}/{ruleId}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct NewRule {
    /// What to do.
    pub actions: Vec<Action>,
    /// For override, postcontent and underride rules.
    #[serde(default)]
    pub conditions: Option<Vec<Condition>>,
    /// For content rules, required there.
    #[serde(default)]
    pub pattern: Option<String>,
}

/// Where to put a rule among the user's own rules of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement<'a> {
    /// A new rule first, a changed one where it is.
    #[default]
    Unspecified,
    /// The next higher priority than this rule (query parameter `before`, which wins over `after`).
    Before(&'a str),
    /// The next lower priority than this rule (query parameter `after`).
    After(&'a str),
}

/// Why a change to the rules was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UserRulesError {
    /// Rule ids must not start with a dot, which only server-default rules do, or contain slashes or backslashes.
    #[error("Rule IDs must not be empty, begin with a dot or contain slashes: {0:?}")]
    InvalidRuleId(String),
    /// A content rule needs a pattern.
    #[error("A content rule needs a pattern")]
    MissingPattern,
    /// The action is unknown and does not set a tweak.
    #[error("Unrecognised action {0}")]
    UnknownAction(String),
    /// The condition has no `kind`.
    #[error("a condition needs a \"kind\"")]
    ConditionWithoutKind,
    /// No such rule.
    #[error("The push rule was not found")]
    NotFound,
    /// The rule named by `before` or `after` is not one of the user's rules of this kind.
    #[error("before/after rule not found: {0}")]
    RelativeNotFound(String),
}

impl UserRules {
    /// Returns the whole rule set: the server-default rules with the user's changes, preceded by the user's own rules;
    /// `.m.rule.master` stays first
    /// ([Predefined Rules](https://spec.matrix.org/v1.19/client-server-api/#predefined-rules)).
    pub fn merge(&self, mut defaults: Ruleset) -> Ruleset {
        for kind in RuleKind::ALL {
            let rules = defaults.rules_mut(kind);
            for rule in rules.iter_mut() {
                let change = self.changes.get(&kind).and_then(|changes| changes.get(&rule.rule_id));
                let Some(change) = change else { continue };
                rule.enabled = change.enabled.unwrap_or(rule.enabled);
                if let Some(actions) = &change.actions {
                    rule.actions.clone_from(actions);
                }
            }
            let at = rules.iter().take_while(|rule| rule.rule_id == MASTER).count();
            rules.splice(at..at, self.rules.rules(kind).iter().cloned());
        }
        defaults
    }

    /// Adds a rule, or changes the one of the same kind and id; a changed rule stays enabled or disabled.
    ///
    /// # Errors
    /// [`UserRulesError`], leaving the rules as they were.
    pub fn put(
        &mut self,
        kind: RuleKind,
        rule_id: &str,
        new: NewRule,
        placement: Placement<'_>,
    ) -> Result<(), UserRulesError> {
        if rule_id.is_empty() || rule_id.starts_with('.') || rule_id.contains(['/', '\\']) {
            return Err(UserRulesError::InvalidRuleId(rule_id.to_owned()));
        }
        if kind == RuleKind::Content && new.pattern.is_none() {
            return Err(UserRulesError::MissingPattern);
        }
        check_actions(&new.actions)?;
        let has_kind = |condition: &Condition| match condition {
            Condition::Known(_) => true,
            Condition::Unknown(condition) => condition.get("kind").is_some(),
        };
        if !new.conditions.iter().flatten().all(has_kind) {
            return Err(UserRulesError::ConditionWithoutKind);
        }
        let rules = self.rules.rules_mut(kind);
        let previous = rules.iter().position(|rule| rule.rule_id == rule_id);
        if let Placement::Before(relative) | Placement::After(relative) = placement
            && !rules.iter().any(|rule| rule.rule_id == relative)
        {
            return Err(UserRulesError::RelativeNotFound(relative.to_owned()));
        }
        let conditional = matches!(kind, RuleKind::Override | RuleKind::Postcontent | RuleKind::Underride);
        let rule = PushRule {
            rule_id: rule_id.to_owned(),
            default: false,
            enabled: previous.and_then(|at| rules.get(at)).is_none_or(|rule| rule.enabled),
            conditions: conditional.then(|| new.conditions.unwrap_or_default()),
            pattern: new.pattern.filter(|_| kind == RuleKind::Content),
            actions: new.actions,
        };
        let relative_at = |rules: &[PushRule], id: &str| {
            // A rule placed relative to itself stays where it is.
            rules.iter().position(|rule| rule.rule_id == id)
        };
        if let Some(at) = previous {
            rules.remove(at);
        }
        let stay = previous.unwrap_or(0);
        let at = match placement {
            Placement::Unspecified => stay,
            Placement::Before(id) => relative_at(rules, id).unwrap_or(stay),
            Placement::After(id) => relative_at(rules, id).map_or(stay, |at| at + 1),
        };
        rules.insert(at, rule);
        Ok(())
    }

    /// Returns the user's own rules, without the server-default ones.
    pub fn own_rules(&self) -> &Ruleset {
        &self.rules
    }

    /// Removes one of the user's own rules.
    ///
    /// # Errors
    /// [`UserRulesError::NotFound`], also for a server-default rule.
    pub fn remove(&mut self, kind: RuleKind, rule_id: &str) -> Result<(), UserRulesError> {
        let rules = self.rules.rules_mut(kind);
        let at = rules.iter().position(|rule| rule.rule_id == rule_id).ok_or(UserRulesError::NotFound)?;
        rules.remove(at);
        Ok(())
    }

    /// Enables or disables a rule, the user's own or one of `defaults`.
    ///
    /// # Errors
    /// [`UserRulesError::NotFound`].
    pub fn set_enabled(
        &mut self,
        defaults: &Ruleset,
        kind: RuleKind,
        rule_id: &str,
        enabled: bool,
    ) -> Result<(), UserRulesError> {
        if let Some(rule) = self.own(kind, rule_id) {
            rule.enabled = enabled;
            return Ok(());
        }
        self.change(defaults, kind, rule_id)?.enabled = Some(enabled);
        Ok(())
    }

    /// Sets the actions of a rule, the user's own or one of `defaults`.
    ///
    /// # Errors
    /// [`UserRulesError::NotFound`], [`UserRulesError::UnknownAction`].
    pub fn set_actions(
        &mut self,
        defaults: &Ruleset,
        kind: RuleKind,
        rule_id: &str,
        actions: Vec<Action>,
    ) -> Result<(), UserRulesError> {
        check_actions(&actions)?;
        if let Some(rule) = self.own(kind, rule_id) {
            rule.actions = actions;
            return Ok(());
        }
        self.change(defaults, kind, rule_id)?.actions = Some(actions);
        Ok(())
    }

    /// Whether the rule is enabled and applies to this room.
    fn is_about(rule: &PushRule, kind: RuleKind, room_id: &str) -> bool {
        let names_room = |condition: &Condition| {
            matches!(condition, Condition::Known(KnownCondition::EventMatch { key, pattern })
                if key == "room_id" && pattern == room_id)
        };
        rule.enabled
            && match kind {
                RuleKind::Room => rule.rule_id == room_id,
                _ => rule.conditions.iter().flatten().any(names_room),
            }
    }

    /// Copies the rules for the room `from` to the room `to`. Each copy follows its original and, as in Synapse, has
    /// the room id as its rule id; an existing rule with that id is left alone. Returns whether rules were added.
    pub fn copy_for_room(&mut self, from: &str, to: &str) -> bool {
        let mut added = false;
        for kind in RuleKind::ALL {
            let rules = self.rules.rules_mut(kind);
            let about = rules.iter().enumerate().find(|(_, rule)| Self::is_about(rule, kind, from));
            let Some((at, mut rule)) = about.map(|(at, rule)| (at, rule.clone())) else { continue };
            if rules.iter().any(|rule| rule.rule_id == to) {
                continue;
            }
            to.clone_into(&mut rule.rule_id);
            for condition in rule.conditions.iter_mut().flatten() {
                if let Condition::Known(KnownCondition::EventMatch { key, pattern }) = condition
                    && key == "room_id"
                    && pattern == from
                {
                    to.clone_into(pattern);
                }
            }
            rules.insert(at + 1, rule);
            added = true;
        }
        added
    }

    fn own(&mut self, kind: RuleKind, rule_id: &str) -> Option<&mut PushRule> {
        self.rules.rules_mut(kind).iter_mut().find(|rule| rule.rule_id == rule_id)
    }

    fn change(
        &mut self,
        defaults: &Ruleset,
        kind: RuleKind,
        rule_id: &str,
    ) -> Result<&mut DefaultRuleChange, UserRulesError> {
        defaults.get(kind, rule_id).ok_or(UserRulesError::NotFound)?;
        Ok(self.changes.entry(kind).or_default().entry(rule_id.to_owned()).or_default())
    }
}

/// Unknown actions may be stored already but cannot be set any more.
fn check_actions(actions: &[Action]) -> Result<(), UserRulesError> {
    let unknown = actions.iter().find_map(|action| match action {
        Action::Unknown(value) => Some(value.to_string()),
        Action::Name(_) | Action::SetTweak(_) => None,
    });
    unknown.map_or(Ok(()), |action| Err(UserRulesError::UnknownAction(action)))
}
