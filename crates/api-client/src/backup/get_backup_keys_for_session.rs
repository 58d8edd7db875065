//! GET /_matrix/client/v3/room_keys/keys/{room_id}/{session_id}

use plexus_e2ee::KeyBackups;
use plexus_e2ee::key_backup::{BackupError, Part};
use plexus_http::{ApiError, Auth, JsonBody, Path, Query, State};

use super::{KeyBackupData, VersionQuery, backup_error};

pub(crate) async fn handle(
    Auth(requester): Auth,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(query): Query<VersionQuery>,
    State(backups): State<KeyBackups>,
) -> Result<JsonBody<KeyBackupData>, ApiError> {
    let part = Part::Session(room_id.clone(), session_id.clone());
    let mut keys = backups.keys(&requester.user_id, query.number()?, part).await.map_err(backup_error)?;
    let key = keys.get_mut(&room_id).and_then(|sessions| sessions.remove(&session_id));
    key.map(|key| JsonBody(key.into())).ok_or_else(|| backup_error(BackupError::NoKeys))
}
