//! GET /_matrix/client/v3/user/{userId}/account_data/{type}

use plexus_http::{ApiError, Auth, Path, RawJson, State};
use plexus_protocol::id::UserId;
use plexus_store::{Database, repo};
use plexus_sync::PredefinedRules;
use plexus_sync::push_rules;

use crate::access::{require_self, require_text};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(predefined): State<PredefinedRules>,
    Path((user, event_type)): Path<(UserId, String)>,
) -> Result<RawJson, ApiError> {
    require_self(&requester, &user)?;
    require_text("type", &event_type)?;
    if event_type == "m.push_rules" {
        let rules = push_rules::of_user(&db, &user, predefined).await?;
        return Ok(RawJson(push_rules::content(&rules)?.into()));
    }
    let content = db.read(move |tx| repo::account_data::get(tx, user.as_str(), "", &event_type)).await?;
    content.map(|content| RawJson(content.into())).ok_or_else(|| ApiError::not_found("Account data not found"))
}
