//! POST /_matrix/client/v3/user/{userId}/filter

use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, JsonText, Path, State};
use plexus_protocol::id::UserId;
use plexus_sync::{FilterError, Filters};
use serde::Serialize;

use crate::access::require_self;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    filter_id: String,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(filters): State<Arc<Filters>>,
    Path(user): Path<UserId>,
    JsonText(definition): JsonText,
) -> Result<JsonBody<Response>, ApiError> {
    require_self(&requester, &user)?;
    match filters.create(&user, definition).await {
        Ok(id) => Ok(JsonBody(Response { filter_id: id.to_string() })),
        Err(FilterError::Invalid(error)) => Err(ApiError::bad_json(error.to_string())),
        Err(FilterError::TooLarge(what)) => Err(ApiError::too_large(what)),
        Err(FilterError::NotFound) => Err(ApiError::not_found("No such filter")),
        Err(FilterError::Database(error)) => Err(ApiError::internal(&error)),
    }
}
