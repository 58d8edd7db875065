//! GET /_matrix/client/v3/pushrules/

use plexus_http::{ApiError, Auth, JsonBody, State};
use plexus_protocol::push_rules::Ruleset;
use plexus_store::Database;
use plexus_sync::PredefinedRules;
use plexus_sync::push_rules;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    global: Ruleset,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(predefined): State<PredefinedRules>,
) -> Result<JsonBody<Response>, ApiError> {
    Ok(JsonBody(Response { global: push_rules::of_user(&db, &requester.user_id, predefined).await? }))
}
