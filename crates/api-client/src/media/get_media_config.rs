//! GET /_matrix/media/v3/config

use std::sync::Arc;

use plexus_http::{AuthGuest, JsonBody, State};
use plexus_media::MediaStore;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Response {
    /// Bytes.
    #[serde(rename = "m.upload.size")]
    upload_size: u64,
}

pub(crate) async fn handle(AuthGuest(_): AuthGuest, State(media): State<Arc<MediaStore>>) -> JsonBody<Response> {
    JsonBody(Response { upload_size: media.max_upload_bytes() })
}
