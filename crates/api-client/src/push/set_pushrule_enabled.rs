//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled

use plexus_http::axum::extract::Request;
use plexus_http::body::read;
use plexus_http::{ApiError, Auth, Empty, Path, State};
use plexus_store::Database;
use plexus_sync::PredefinedRules;
use plexus_sync::push_rules::{self, RuleChange};
use serde_json::Value;

use super::{change_error, rule_kind};

/// Reads the body. Old clients sent the boolean alone, which Synapse still accepts.
fn enabled(body: &[u8]) -> Result<bool, ApiError> {
    let body: Value =
        serde_json::from_slice(body).map_err(|error| ApiError::not_json(format!("Content not JSON: {error}")))?;
    let enabled = body.as_bool().or_else(|| body.get("enabled")?.as_bool());
    enabled.ok_or_else(|| ApiError::bad_json("\"enabled\" must be a boolean"))
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(predefined): State<PredefinedRules>,
    Path((kind, rule_id)): Path<(String, String)>,
    request: Request,
) -> Result<Empty, ApiError> {
    let kind = rule_kind(&kind)?;
    let change = RuleChange::Enable(enabled(&read(request).await?.bytes)?);
    push_rules::change(&db, &requester.user_id, kind, &rule_id, change, predefined).await.map_err(change_error)?;
    Ok(Empty)
}
