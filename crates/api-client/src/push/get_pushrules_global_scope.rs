//! GET /_matrix/client/v3/pushrules/global/

use plexus_http::{ApiError, Auth, JsonBody, State};
use plexus_protocol::push_rules::Ruleset;
use plexus_store::Database;
use plexus_sync::PredefinedRules;
use plexus_sync::push_rules;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(predefined): State<PredefinedRules>,
) -> Result<JsonBody<Ruleset>, ApiError> {
    Ok(JsonBody(push_rules::of_user(&db, &requester.user_id, predefined).await?))
}
