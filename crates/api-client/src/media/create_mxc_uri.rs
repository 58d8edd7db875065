//! POST /_matrix/media/v1/create

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::media::media_error;
use plexus_http::{ApiError, Auth, JsonBody, State};
use plexus_media::MediaStore;
use plexus_protocol::id::UserId;
use serde::Serialize;

use plexus_service::{RateLimits, check_limit};

#[derive(Serialize)]
pub(crate) struct Response {
    content_uri: String,
    unused_expires_at: u64,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(media): State<Arc<MediaStore>>,
    State(config): State<Arc<Config>>,
    State(limits): State<Arc<RateLimits>>,
) -> Result<JsonBody<Response>, ApiError> {
    let user_id: &UserId = &requester.user_id;
    check_limit(&limits.media_create, &requester)?;
    let reserved = media.reserve(user_id).await.map_err(media_error)?;
    Ok(JsonBody(Response {
        content_uri: format!("mxc://{}/{}", config.server.server_name, reserved.media_id),
        unused_expires_at: reserved.expires_ms,
    }))
}
