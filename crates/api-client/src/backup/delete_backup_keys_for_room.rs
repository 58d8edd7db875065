//! DELETE /_matrix/client/v3/room_keys/keys/{room_id}

use plexus_e2ee::KeyBackups;
use plexus_e2ee::key_backup::Part;
use plexus_http::{ApiError, Auth, JsonBody, Path, Query, State};

use super::{StampResponse, VersionQuery, backup_error};

pub(crate) async fn handle(
    Auth(requester): Auth,
    Path(room_id): Path<String>,
    Query(query): Query<VersionQuery>,
    State(backups): State<KeyBackups>,
) -> Result<JsonBody<StampResponse>, ApiError> {
    let part = Part::Room(room_id);
    let stamp = backups.delete_keys(&requester.user_id, query.number()?, part).await.map_err(backup_error)?;
    Ok(JsonBody(stamp.into()))
}
