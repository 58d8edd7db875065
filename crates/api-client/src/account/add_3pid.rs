//! POST /_matrix/client/v3/account/3pid and /account/3pid/add

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, Json, State};
use plexus_protocol::json::Object;

/// Adds an address that was validated before. This server cannot validate addresses yet, so it knows no such session.
pub(crate) async fn handle(
    Auth(_): Auth,
    State(config): State<Arc<Config>>,
    Json(body): Json<Object>,
) -> Result<Empty, ApiError> {
    if !config.registration.enable_3pid_changes {
        return Err(ApiError::forbidden("3PID changes are disabled on this server"));
    }
    let credentials = body.get_object("three_pid_creds").unwrap_or(&body);
    for field in ["client_secret", "sid"] {
        if credentials.get_str(field).is_none() {
            return Err(ApiError::missing_param(format!("Missing params: {field}")));
        }
    }
    Err(ApiError::bad_request("M_THREEPID_AUTH_FAILED", "No validated 3pid session found"))
}
