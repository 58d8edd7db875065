//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions

use plexus_delivery::push_rules::{self, RuleChange};
use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::push_rules::{Action, actions};
use plexus_store::Database;
use serde::Deserialize;

use super::{change_error, rule_kind};

#[derive(Debug, Deserialize)]
pub struct Request {
    #[serde(deserialize_with = "actions")]
    actions: Vec<Action>,
}

pub async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    Path((kind, rule_id)): Path<(String, String)>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    let change = RuleChange::SetActions(request.actions);
    push_rules::change(&db, &requester.user_id, rule_kind(&kind)?, &rule_id, change).await.map_err(change_error)?;
    Ok(Empty)
}
