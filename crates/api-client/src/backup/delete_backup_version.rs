//! DELETE /_matrix/client/v3/room_keys/version/{version}

use plexus_e2ee::KeyBackups;
use plexus_http::{ApiError, Auth, Empty, Path, State};

use super::{backup_error, version};

pub(crate) async fn handle(
    Auth(requester): Auth,
    Path(wanted): Path<String>,
    State(backups): State<KeyBackups>,
) -> Result<Empty, ApiError> {
    backups.delete(&requester.user_id, version(&wanted)?).await.map_err(backup_error)?;
    Ok(Empty)
}
