//! POST /_matrix/client/v3/room_keys/version

use plexus_e2ee::KeyBackups;
use plexus_http::{ApiError, Auth, Json, JsonBody, State};
use plexus_protocol::json::Object;
use serde::{Deserialize, Serialize};

use super::backup_error;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    algorithm: String,
    auth_data: Object,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    version: String,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(backups): State<KeyBackups>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let version =
        backups.create(&requester.user_id, request.algorithm, &request.auth_data).await.map_err(backup_error)?;
    Ok(JsonBody(Response { version: version.to_string() }))
}
