//! POST /_matrix/client/v3/account/password/email/requestToken

use plexus_http::{ApiError, Empty, Json};
use plexus_protocol::json::Object;

use super::request_token;

pub(crate) async fn handle(Json(body): Json<Object>) -> Result<Empty, ApiError> {
    Err(request_token::without_email(&body))
}
