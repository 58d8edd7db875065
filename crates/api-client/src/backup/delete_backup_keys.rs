//! DELETE /_matrix/client/v3/room_keys/keys

use plexus_e2ee::KeyBackups;
use plexus_e2ee::key_backup::Part;
use plexus_http::{ApiError, Auth, JsonBody, Query, State};

use super::{StampResponse, VersionQuery, backup_error};

pub(crate) async fn handle(
    Auth(requester): Auth,
    Query(query): Query<VersionQuery>,
    State(backups): State<KeyBackups>,
) -> Result<JsonBody<StampResponse>, ApiError> {
    let stamp = backups.delete_keys(&requester.user_id, query.number()?, Part::All).await.map_err(backup_error)?;
    Ok(JsonBody(stamp.into()))
}
