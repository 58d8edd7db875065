//! GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}

use std::sync::Arc;

use axum::response::Response;
use plexus_base::config::Config;
use plexus_http::media::ThumbnailQuery;
use plexus_http::{ApiError, ClientIp, Path, Query, State};
use plexus_media::{Downloader, Downloads};

use super::serve::{self, Conditions};

pub(crate) async fn handle(
    State(media): State<Arc<Downloads>>,
    State(config): State<Arc<Config>>,
    Path((server_name, media_id)): Path<(String, String)>,
    Query(query): Query<ThumbnailQuery>,
    ClientIp(address): ClientIp,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    serve::check_legacy(&config)?;
    let downloader = Downloader { user: None, address };
    serve::thumbnail(&media, &conditions, (&server_name, &media_id), query, &downloader).await
}
