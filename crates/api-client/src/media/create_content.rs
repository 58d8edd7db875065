//! POST /_matrix/media/v3/upload

use std::sync::Arc;

use axum::extract::Request;
use plexus_base::config::Config;
use plexus_http::media::media_error;
use plexus_http::{ApiError, Auth, JsonBody, Query, State};
use plexus_media::MediaStore;
use serde::Serialize;

use super::receive;

#[derive(Serialize)]
pub(crate) struct Response {
    content_uri: String,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(media): State<Arc<MediaStore>>,
    State(config): State<Arc<Config>>,
    Query(query): Query<receive::Query>,
    request: Request,
) -> Result<JsonBody<Response>, ApiError> {
    let about = receive::description(&request, query);
    let upload = receive::body(&media, &requester.user_id, request).await?;
    let media_id = media.store(&requester.user_id, upload, about).await.map_err(media_error)?;
    Ok(JsonBody(Response { content_uri: format!("mxc://{}/{media_id}", config.server.server_name) }))
}
