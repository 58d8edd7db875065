//! POST /_matrix/client/v3/account/3pid/email/requestToken

use plexus_http::{ApiError, Empty, Json};
use plexus_protocol::json::Object;

use super::request_token;

pub(crate) async fn handle(Json(body): Json<Object>) -> Result<Empty, ApiError> {
    request_token::without_email(&body)
}
