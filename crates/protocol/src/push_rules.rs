//! Push rules: which events notify a user, and how
//! ([Push Rules](https://spec.matrix.org/v1.19/client-server-api/#push-rules)).
//!
//! [`default_ruleset`] and [`UserRules::merge`] make the [`Ruleset`] that clients see. Events are evaluated against a
//! [`CompiledRuleset`]: once for all users with equal rules, unless the event concerns one of them in particular.

mod compile;
mod defaults;
mod evaluate;
mod event_path;
mod model;
#[cfg(test)]
mod tests;
mod user_rules;

pub use self::{
    compile::{Actions, CompiledRuleset},
    defaults::{
        add_encrypted_event_rule, default_ruleset, default_ruleset_with_legacy_mentions, thread_subscription_rules,
    },
    evaluate::{Owner, OwnerFacts, RoomContext},
    event_path::EventView,
    model::{Action, ActionName, Condition, KnownCondition, PushRule, RuleKind, Ruleset, Scalar, SetTweak},
    user_rules::{NewRule, Placement, UserRules, UserRulesError},
};
