//! PUT /_matrix/client/v3/room_keys/keys/{room_id}/{session_id}

use std::collections::BTreeMap;

use plexus_e2ee::KeyBackups;
use plexus_e2ee::key_backup::RoomKeys;
use plexus_http::{ApiError, Auth, Json, JsonBody, Path, Query, State};

use super::{KeyBackupData, StampResponse, VersionQuery, backup_error};

pub(crate) async fn handle(
    Auth(requester): Auth,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(query): Query<VersionQuery>,
    State(backups): State<KeyBackups>,
    Json(request): Json<KeyBackupData>,
) -> Result<JsonBody<StampResponse>, ApiError> {
    let keys = RoomKeys::from([(room_id, BTreeMap::from([(session_id, request.into())]))]);
    let stamp = backups.put_keys(&requester.user_id, query.number()?, keys).await.map_err(backup_error)?;
    Ok(JsonBody(stamp.into()))
}
