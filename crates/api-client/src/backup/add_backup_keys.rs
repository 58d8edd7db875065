//! PUT /_matrix/client/v3/room_keys/keys

use plexus_e2ee::KeyBackups;
use plexus_http::{ApiError, Auth, Json, JsonBody, Query, State};

use super::{KeyBackup, StampResponse, VersionQuery, backup_error, stored};

pub(crate) async fn handle(
    Auth(requester): Auth,
    Query(query): Query<VersionQuery>,
    State(backups): State<KeyBackups>,
    Json(request): Json<KeyBackup>,
) -> Result<JsonBody<StampResponse>, ApiError> {
    let keys = request.rooms.into_iter().map(|(room_id, room)| (room_id, stored(room.sessions))).collect();
    let stamp = backups.put_keys(&requester.user_id, query.number()?, keys).await.map_err(backup_error)?;
    Ok(JsonBody(stamp.into()))
}
