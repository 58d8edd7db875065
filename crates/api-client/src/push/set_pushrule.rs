//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, Json, Path, Query, State};
use plexus_protocol::push_rules::NewRule;
use plexus_store::Database;
use plexus_sync::PredefinedRules;
use plexus_sync::push_rules::{self, RuleChange};
use serde::Deserialize;

use super::{change_error, rule_kind, rule_limits};

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    before: Option<String>,
    after: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(predefined): State<PredefinedRules>,
    State(config): State<Arc<Config>>,
    Path((kind, rule_id)): Path<(String, String)>,
    Query(Parameters { before, after }): Query<Parameters>,
    Json(rule): Json<NewRule>,
) -> Result<Empty, ApiError> {
    let change = RuleChange::Put { rule, before, after, limits: rule_limits(&config) };
    push_rules::change(&db, &requester.user_id, rule_kind(&kind)?, &rule_id, change, predefined)
        .await
        .map_err(change_error)?;
    Ok(Empty)
}
