//! GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled

use plexus_http::{ApiError, Auth, JsonBody, Path, State};
use plexus_store::Database;
use plexus_sync::PredefinedRules;
use serde::Serialize;

use super::find_rule;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    enabled: bool,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(predefined): State<PredefinedRules>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<JsonBody<Response>, ApiError> {
    let rule = find_rule(&db, predefined, &requester, &kind, &rule_id).await?;
    Ok(JsonBody(Response { enabled: rule.enabled }))
}
