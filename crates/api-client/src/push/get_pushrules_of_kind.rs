//! GET /_matrix/client/v3/pushrules/global/{kind}/, which Synapse serves beyond the specification.

use plexus_http::{ApiError, Auth, JsonBody, Path, State};
use plexus_protocol::push_rules::{PushRule, RuleKind};
use plexus_store::Database;
use plexus_sync::PredefinedRules;
use plexus_sync::push_rules;

use super::unrecognized_path;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(predefined): State<PredefinedRules>,
    Path(kind): Path<String>,
) -> Result<JsonBody<Vec<PushRule>>, ApiError> {
    let kind = RuleKind::from_name(&kind).ok_or_else(unrecognized_path)?;
    let mut rules = push_rules::of_user(&db, &requester.user_id, predefined).await?;
    Ok(JsonBody(std::mem::take(rules.rules_mut(kind))))
}
