//! PUT /_matrix/client/v1/admin/suspend/{userId}

use plexus_accounts::Administration;
use plexus_http::{ApiError, AuthAdmin, Json, JsonBody, Path, State};
use plexus_protocol::id::UserId;

use super::{Suspended, account_to_change, administration_error};

pub(crate) async fn handle(
    AuthAdmin(requester): AuthAdmin,
    State(administration): State<Administration>,
    Path(user_id): Path<UserId>,
    Json(Suspended { suspended }): Json<Suspended>,
) -> Result<JsonBody<Suspended>, ApiError> {
    account_to_change(&administration, &requester, &user_id).await?;
    let (_, changed) = administration.set_suspended(user_id.as_str(), suspended).await.map_err(administration_error)?;
    if changed {
        tracing::info!(by = %requester.user_id, %user_id, suspended, "an account was changed");
    }
    Ok(JsonBody(Suspended { suspended }))
}
