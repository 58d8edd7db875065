//! GET /_matrix/client/v3/room_keys/keys

use plexus_e2ee::KeyBackups;
use plexus_e2ee::key_backup::Part;
use plexus_http::{ApiError, Auth, JsonBody, Query, State};

use super::{KeyBackup, VersionQuery, backup_error, shown};

pub(crate) async fn handle(
    Auth(requester): Auth,
    Query(query): Query<VersionQuery>,
    State(backups): State<KeyBackups>,
) -> Result<JsonBody<KeyBackup>, ApiError> {
    let keys = backups.keys(&requester.user_id, query.number()?, Part::All).await.map_err(backup_error)?;
    let rooms = keys.into_iter().map(|(room_id, sessions)| (room_id, shown(sessions))).collect();
    Ok(JsonBody(KeyBackup { rooms }))
}
