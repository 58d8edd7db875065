//! DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}

use plexus_http::{ApiError, Auth, Empty, Path, State};
use plexus_protocol::push_rules::{RuleKind, UserRulesError};
use plexus_store::Database;
use plexus_sync::PredefinedRules;
use plexus_sync::push_rules::{self, RuleChange};

use super::change_error;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(predefined): State<PredefinedRules>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Empty, ApiError> {
    // An unknown kind has no rules.
    let kind = RuleKind::from_name(&kind).ok_or_else(|| change_error(UserRulesError::NotFound.into()))?;
    push_rules::change(&db, &requester.user_id, kind, &rule_id, RuleChange::Delete, predefined)
        .await
        .map_err(change_error)?;
    Ok(Empty)
}
