//! GET /_matrix/client/v1/media/config

use std::sync::Arc;

use plexus_http::{AuthGuest, JsonBody, State};
use plexus_media::MediaStore;

use crate::media::get_media_config::{self, Response};

pub(crate) async fn handle(user: AuthGuest, media: State<Arc<MediaStore>>) -> JsonBody<Response> {
    get_media_config::handle(user, media).await
}
