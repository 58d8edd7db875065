//! GET /_matrix/client/v1/media/preview_url

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Query, RawJson, State};
use plexus_media::Previews;

use crate::media::get_media_preview::{self, Parameters};

pub(crate) async fn handle(
    user: Auth,
    previews: State<Arc<Previews>>,
    parameters: Result<Query<Parameters>, ApiError>,
) -> Result<RawJson, ApiError> {
    get_media_preview::handle(user, previews, parameters).await
}
