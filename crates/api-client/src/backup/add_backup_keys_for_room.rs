//! PUT /_matrix/client/v3/room_keys/keys/{room_id}

use plexus_e2ee::KeyBackups;
use plexus_e2ee::key_backup::RoomKeys;
use plexus_http::{ApiError, Auth, Json, JsonBody, Path, Query, State};

use super::{RoomKeyBackup, StampResponse, VersionQuery, backup_error, stored};

pub(crate) async fn handle(
    Auth(requester): Auth,
    Path(room_id): Path<String>,
    Query(query): Query<VersionQuery>,
    State(backups): State<KeyBackups>,
    Json(request): Json<RoomKeyBackup>,
) -> Result<JsonBody<StampResponse>, ApiError> {
    let keys = RoomKeys::from([(room_id, stored(request.sessions))]);
    let stamp = backups.put_keys(&requester.user_id, query.number()?, keys).await.map_err(backup_error)?;
    Ok(JsonBody(stamp.into()))
}
