//! GET /_matrix/client/v3/notifications

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Query, RawJson, State};
use plexus_sync::notifications::Notifications;
use serde::Deserialize;

/// The most notifications in one response.
const MAX_LIMIT: usize = 500;

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    from: Option<String>,
    limit: Option<usize>,
    /// `highlight`: only notifications with emphasis.
    only: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(notifications): State<Arc<Notifications>>,
    Query(parameters): Query<Parameters>,
) -> Result<RawJson, ApiError> {
    let from = match parameters.from.as_deref() {
        Some(from) => Some(from.parse().map_err(|_| ApiError::invalid_param("from is not a token"))?),
        None => None,
    };
    let limit = parameters.limit.unwrap_or(50).clamp(1, MAX_LIMIT);
    let highlights = parameters.only.as_deref() == Some("highlight");
    let body = notifications.list(&requester.user_id, from, limit, highlights).await?;
    Ok(RawJson(body.into()))
}
