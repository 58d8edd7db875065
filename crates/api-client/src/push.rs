//! Push rules, pushers, notifications.

pub mod delete_pushrule;
pub mod get_notifications;
pub mod get_pushers;
pub mod get_pushrule;
pub mod get_pushrule_actions;
pub mod get_pushrule_enabled;
pub mod get_pushrules_all;
pub mod get_pushrules_global_scope;
pub mod set_pusher;
pub mod set_pushrule;
pub mod set_pushrule_actions;
pub mod set_pushrule_enabled;

use plexus_delivery::push_rules::{self, PushRulesError};
use plexus_http::{ApiError, Requester};
use plexus_protocol::push_rules::{PushRule, RuleKind, UserRulesError};
use plexus_store::Database;

fn rule_kind(name: &str) -> Result<RuleKind, ApiError> {
    RuleKind::from_name(name).ok_or_else(|| ApiError::invalid_param(format!("Unrecognised rule kind: {name}")))
}

/// The rule named in the path.
async fn find_rule(db: &Database, requester: &Requester, kind: &str, rule_id: &str) -> Result<PushRule, ApiError> {
    let kind = rule_kind(kind)?;
    let rules = push_rules::of_user(db, &requester.user_id).await?;
    rules.get(kind, rule_id).cloned().ok_or_else(|| ApiError::not_found("The push rule was not found"))
}

fn change_error(error: PushRulesError) -> ApiError {
    match error {
        PushRulesError::Refused(error @ UserRulesError::NotFound) => ApiError::not_found(error.to_string()),
        PushRulesError::Refused(error @ UserRulesError::MissingPattern) => ApiError::missing_param(error.to_string()),
        PushRulesError::Refused(error @ (UserRulesError::InvalidRuleId(_) | UserRulesError::RelativeNotFound(_))) => {
            ApiError::invalid_param(error.to_string())
        }
        PushRulesError::Database(error) => ApiError::internal(&error),
    }
}
