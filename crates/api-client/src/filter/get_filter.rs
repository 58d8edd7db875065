//! GET /_matrix/client/v3/user/{userId}/filter/{filterId}

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Path, RawJson, State};
use plexus_protocol::id::UserId;
use plexus_sync::{FilterError, Filters};

use crate::access::require_self;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(filters): State<Arc<Filters>>,
    Path((user, filter_id)): Path<(UserId, String)>,
) -> Result<RawJson, ApiError> {
    require_self(&requester, &user)?;
    let id = filter_id.parse().map_err(|_| ApiError::invalid_param("Invalid filter_id"))?;
    match filters.definition(&user, id).await {
        Ok(definition) => Ok(RawJson(definition.into())),
        Err(FilterError::NotFound) => Err(ApiError::not_found("No such filter")),
        Err(error @ (FilterError::Invalid(_) | FilterError::TooLarge(_))) => Err(ApiError::internal(&error)),
        Err(FilterError::Database(error)) => Err(ApiError::internal(&error)),
    }
}
