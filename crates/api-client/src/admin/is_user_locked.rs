//! GET /_matrix/client/v1/admin/lock/{userId}

use plexus_accounts::Administration;
use plexus_http::{ApiError, AuthAdmin, JsonBody, Path, State};
use plexus_protocol::id::UserId;

use super::{Locked, account};

pub(crate) async fn handle(
    AuthAdmin(requester): AuthAdmin,
    State(administration): State<Administration>,
    Path(user_id): Path<UserId>,
) -> Result<JsonBody<Locked>, ApiError> {
    let user = account(&administration, &requester, &user_id).await?;
    Ok(JsonBody(Locked { locked: user.locked }))
}
