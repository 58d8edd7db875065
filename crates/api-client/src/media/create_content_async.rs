//! PUT /_matrix/media/v3/upload/{serverName}/{mediaId}

use std::sync::Arc;

use axum::extract::Request;
use plexus_base::config::Config;
use plexus_http::media::media_error;
use plexus_http::{ApiError, Auth, Empty, Path, Query, State};
use plexus_media::MediaStore;

use super::receive;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(media): State<Arc<MediaStore>>,
    State(config): State<Arc<Config>>,
    Path((server_name, media_id)): Path<(String, String)>,
    Query(query): Query<receive::Query>,
    request: Request,
) -> Result<Empty, ApiError> {
    if server_name != config.server.server_name.as_str() {
        return Err(ApiError::not_found("Only this server's media can be uploaded here"));
    }
    media.check_fillable(&requester.user_id, &media_id).await.map_err(media_error)?;
    let about = receive::description(&request, query);
    let upload = receive::body(&media, &requester.user_id, request).await?;
    media.fill(&requester.user_id, &media_id, upload, about).await.map_err(media_error)?;
    Ok(Empty)
}
