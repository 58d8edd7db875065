//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}

use plexus_delivery::push_rules::{self, RuleChange};
use plexus_http::{ApiError, Auth, Empty, Json, Path, Query, State};
use plexus_protocol::push_rules::NewRule;
use plexus_store::Database;
use serde::Deserialize;

use super::{change_error, rule_kind};

#[derive(Debug, Deserialize)]
pub struct Parameters {
    before: Option<String>,
    after: Option<String>,
}

pub async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    Path((kind, rule_id)): Path<(String, String)>,
    Query(Parameters { before, after }): Query<Parameters>,
    Json(rule): Json<NewRule>,
) -> Result<Empty, ApiError> {
    let change = RuleChange::Put { rule, before, after };
    push_rules::change(&db, &requester.user_id, rule_kind(&kind)?, &rule_id, change).await.map_err(change_error)?;
    Ok(Empty)
}
