//! GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}

use plexus_http::{ApiError, Auth, JsonBody, Path, State};
use plexus_protocol::push_rules::PushRule;
use plexus_store::Database;
use plexus_sync::PredefinedRules;

use super::find_rule;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(predefined): State<PredefinedRules>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<JsonBody<PushRule>, ApiError> {
    find_rule(&db, predefined, &requester, &kind, &rule_id).await.map(JsonBody)
}
