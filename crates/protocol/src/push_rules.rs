//! Push rules: which events a user wants to be notified of, and how (Client-Server API, "Push Notifications").
//!
//! [`default_ruleset`] and [`UserRules::merge`] make the [`Ruleset`] a client sees; [`CompiledRuleset`] is what events
//! are evaluated against, once for all users with equal rules where the event concerns none of them in particular.

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
    defaults::{default_ruleset, default_ruleset_with_legacy_mentions},
    evaluate::{Owner, RoomContext},
    event_path::EventView,
    model::{Action, ActionName, Condition, KnownCondition, PushRule, RuleKind, Ruleset, Scalar, SetTweak},
    user_rules::{NewRule, Placement, UserRules, UserRulesError},
};
