//! GET /_matrix/client/v3/room_keys/version

use plexus_e2ee::KeyBackups;
use plexus_http::{ApiError, Auth, JsonBody, State};

use super::{InfoResponse, backup_error};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(backups): State<KeyBackups>,
) -> Result<JsonBody<InfoResponse>, ApiError> {
    let backup = backups.info(&requester.user_id, None).await.map_err(backup_error)?;
    Ok(JsonBody(backup.try_into()?))
}
