//! Push rules, pushers, notifications.

pub(crate) mod delete_pushrule;
pub(crate) mod get_notifications;
pub(crate) mod get_pushers;
pub(crate) mod get_pushrule;
pub(crate) mod get_pushrule_actions;
pub(crate) mod get_pushrule_enabled;
pub(crate) mod get_pushrules_all;
pub(crate) mod get_pushrules_global_scope;
pub(crate) mod get_pushrules_of_kind;
pub(crate) mod set_pusher;
pub(crate) mod set_pushrule;
pub(crate) mod set_pushrule_actions;
pub(crate) mod set_pushrule_enabled;
pub(crate) mod unrecognized_path;

use http::StatusCode;
use plexus_base::config::Config;
use plexus_http::{ApiError, Requester};
use plexus_protocol::push_rules::{PushRule, RuleKind, UserRulesError};
use plexus_store::Database;
use plexus_sync::PredefinedRules;
use plexus_sync::push_rules::{self, PushRulesError, RuleLimits};

/// Parses the kind of a rule that is to be changed.
fn rule_kind(name: &str) -> Result<RuleKind, ApiError> {
    RuleKind::from_name(name).ok_or_else(|| ApiError::unknown(format!("Unknown rule kind: {name}")))
}

/// 400 `M_UNRECOGNIZED`, as in Synapse for a path below `/pushrules/` that names nothing.
fn unrecognized_path() -> ApiError {
    ApiError::bad_request("M_UNRECOGNIZED", "Unrecognized request")
}

/// Returns the rule named in the path.
async fn find_rule(
    db: &Database,
    predefined: PredefinedRules,
    requester: &Requester,
    kind: &str,
    rule_id: &str,
) -> Result<PushRule, ApiError> {
    let kind = RuleKind::from_name(kind).ok_or_else(unrecognized_path)?;
    let rules = push_rules::of_user(db, &requester.user_id, predefined).await?;
    rules.get(kind, rule_id).cloned().ok_or_else(|| ApiError::not_found("The push rule was not found"))
}

fn rule_limits(config: &Config) -> RuleLimits {
    let limits = &config.push.push_rules.limits;
    let bytes = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    RuleLimits {
        count: bytes(limits.rule_count.into()),
        id_length: bytes(limits.rule_id_length.into()),
        size: bytes(limits.rule_size),
    }
}

fn change_error(error: PushRulesError) -> ApiError {
    match error {
        PushRulesError::Refused(error @ UserRulesError::NotFound) => ApiError::not_found(error.to_string()),
        // The code of the specification's example for a malformed rule.
        PushRulesError::Refused(error) => ApiError::unknown(error.to_string()),
        // As in Synapse: the specification has no code for it.
        PushRulesError::IdTooLong(..) | PushRulesError::TooLarge(..) => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "M_UNKNOWN", error.to_string())
        }
        PushRulesError::TooMany(_) | PushRulesError::TooManySearches => ApiError::unknown(error.to_string()),
        PushRulesError::Database(error) => error.into(),
    }
}
