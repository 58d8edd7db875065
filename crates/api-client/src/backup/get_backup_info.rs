//! GET /_matrix/client/v3/room_keys/version/{version}

use plexus_e2ee::KeyBackups;
use plexus_http::{ApiError, Auth, JsonBody, Path, State};

use super::{InfoResponse, backup_error, version};

pub(crate) async fn handle(
    Auth(requester): Auth,
    Path(wanted): Path<String>,
    State(backups): State<KeyBackups>,
) -> Result<JsonBody<InfoResponse>, ApiError> {
    let backup = backups.info(&requester.user_id, Some(version(&wanted)?)).await.map_err(backup_error)?;
    Ok(JsonBody(backup.try_into()?))
}
