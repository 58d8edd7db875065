//! PUT /_matrix/client/v3/room_keys/version/{version}

use plexus_e2ee::KeyBackups;
use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::json::Object;
use serde::Deserialize;

use super::{backup_error, version};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    algorithm: String,
    auth_data: Object,
    version: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    Path(in_path): Path<String>,
    State(backups): State<KeyBackups>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    if request.version.is_some_and(|in_body| in_body != in_path) {
        return Err(ApiError::invalid_param("Version in body does not match version in path"));
    }
    backups
        .update(&requester.user_id, version(&in_path)?, request.algorithm, &request.auth_data)
        .await
        .map_err(backup_error)?;
    Ok(Empty)
}
