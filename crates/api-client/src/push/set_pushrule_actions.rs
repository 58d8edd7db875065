//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::push_rules::Action;
use plexus_store::Database;
use plexus_sync::PredefinedRules;
use plexus_sync::push_rules::{self, RuleChange};
use serde::Deserialize;

use super::{change_error, rule_kind, rule_limits};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    actions: Vec<Action>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(predefined): State<PredefinedRules>,
    State(config): State<Arc<Config>>,
    Path((kind, rule_id)): Path<(String, String)>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    let change = RuleChange::SetActions { actions: request.actions, limits: rule_limits(&config) };
    push_rules::change(&db, &requester.user_id, rule_kind(&kind)?, &rule_id, change, predefined)
        .await
        .map_err(change_error)?;
    Ok(Empty)
}
