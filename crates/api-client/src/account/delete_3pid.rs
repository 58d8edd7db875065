//! POST /_matrix/client/v3/account/3pid/delete

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Json, JsonBody, State};
use plexus_mail::EmailAddress;
use plexus_service::EMAIL;
use plexus_store::repo::users;
use plexus_store::{Database, DbError};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    medium: String,
    address: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    id_server_unbind_result: &'static str,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(db): State<Database>,
    Json(body): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    if !config.registration.enable_3pid_changes {
        return Err(ApiError::forbidden("3PID changes are disabled on this server"));
    }
    if body.medium.contains('\0') || body.address.contains('\0') {
        return Err(ApiError::invalid_param("medium and address must not contain NUL"));
    }
    let user_id = requester.user_id.clone();
    let Request { medium, address } = body;
    // As it was stored.
    let address = match EmailAddress::try_from(address.as_str()) {
        Ok(email) if medium == EMAIL => email.to_string(),
        _ => address,
    };
    let deleted: Result<bool, DbError> =
        db.write(move |tx| users::delete_threepid(tx, user_id.as_str(), &medium, &address)).await;
    deleted.map_err(|error| ApiError::internal(&error))?;
    Ok(JsonBody(Response { id_server_unbind_result: "no-support" }))
}
