//! GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}

use std::sync::Arc;

use axum::response::Response;
use http::HeaderMap;
use plexus_http::{ApiError, AuthGuest, Path, Query, State};
use plexus_media::Downloads;

use crate::media::serve;
use plexus_http::media::ThumbnailQuery;

pub async fn handle(
    AuthGuest(_): AuthGuest,
    State(media): State<Arc<Downloads>>,
    Path((server_name, media_id)): Path<(String, String)>,
    Query(query): Query<ThumbnailQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    serve::thumbnail(&media, &headers, (&server_name, &media_id), query).await
}
