//! DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}

use plexus_delivery::push_rules::{self, RuleChange};
use plexus_http::{ApiError, Auth, Empty, Path, State};
use plexus_store::Database;

use super::{change_error, rule_kind};

pub async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Empty, ApiError> {
    push_rules::change(&db, &requester.user_id, rule_kind(&kind)?, &rule_id, RuleChange::Delete)
        .await
        .map_err(change_error)?;
    Ok(Empty)
}
