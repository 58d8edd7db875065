//! GET /_matrix/federation/v1/media/download/{mediaId}

use std::sync::Arc;

use axum::response::Response;
use plexus_base::Random;
use plexus_http::media::{DownloadQuery, media_error};
use plexus_http::{ApiError, Path, Query, State};
use plexus_media::MediaStore;

use super::multipart;

pub(crate) async fn handle(
    State(media): State<Arc<MediaStore>>,
    State(random): State<Random>,
    Path(media_id): Path<String>,
    Query(query): Query<DownloadQuery>,
) -> Result<Response, ApiError> {
    let open = media.get(&media_id, query.timeout()).await.map_err(media_error)?;
    Ok(multipart(open, &random))
}
