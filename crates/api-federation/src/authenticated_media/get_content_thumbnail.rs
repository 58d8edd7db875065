//! GET /_matrix/federation/v1/media/thumbnail/{mediaId}

use std::sync::Arc;

use axum::response::Response;
use plexus_base::Random;
use plexus_http::media::{ThumbnailQuery, media_error};
use plexus_http::{ApiError, Origin, Path, Query, State};
use plexus_media::MediaStore;

use super::multipart;

pub(crate) async fn handle(
    Origin(origin): Origin,
    State(media): State<Arc<MediaStore>>,
    State(random): State<Random>,
    Path(media_id): Path<String>,
    Query(query): Query<ThumbnailQuery>,
) -> Result<Response, ApiError> {
    let open =
        media.thumbnail(&media_id, query.request()?, query.timeout(), origin.as_str()).await.map_err(media_error)?;
    Ok(multipart(open, &random))
}
