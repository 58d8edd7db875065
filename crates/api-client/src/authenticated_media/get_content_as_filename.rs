//! GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}

use std::sync::Arc;

use axum::response::Response;
use http::HeaderMap;
use plexus_http::{ApiError, AuthGuest, Path, Query, State};
use plexus_media::Downloads;

use crate::media::serve;
use plexus_http::media::DownloadQuery;

pub async fn handle(
    AuthGuest(_): AuthGuest,
    State(media): State<Arc<Downloads>>,
    Path((server_name, media_id, file_name)): Path<(String, String, String)>,
    Query(query): Query<DownloadQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    serve::content(&media, &headers, (&server_name, &media_id), Some(file_name), query).await
}
