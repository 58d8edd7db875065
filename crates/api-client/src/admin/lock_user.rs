//! PUT /_matrix/client/v1/admin/lock/{userId}

use plexus_accounts::Administration;
use plexus_http::{ApiError, AuthAdmin, Json, JsonBody, Path, State};
use plexus_protocol::id::UserId;

use super::{Locked, account_to_change, administration_error};

pub(crate) async fn handle(
    AuthAdmin(requester): AuthAdmin,
    State(administration): State<Administration>,
    Path(user_id): Path<UserId>,
    Json(Locked { locked }): Json<Locked>,
) -> Result<JsonBody<Locked>, ApiError> {
    account_to_change(&administration, &requester, &user_id).await?;
    let (_, changed) = administration.set_locked(user_id.as_str(), locked).await.map_err(administration_error)?;
    if changed {
        tracing::info!(by = %requester.user_id, %user_id, locked, "an account was changed");
    }
    Ok(JsonBody(Locked { locked }))
}
