//! GET /_matrix/client/v1/media/download/{serverName}/{mediaId}

use std::sync::Arc;

use axum::response::Response;
use plexus_http::media::DownloadQuery;
use plexus_http::{ApiError, AuthGuest, ClientIp, Path, Query, State};
use plexus_media::{Downloader, Downloads};

use crate::media::serve::{self, Conditions};

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(media): State<Arc<Downloads>>,
    Path((server_name, media_id)): Path<(String, String)>,
    Query(query): Query<DownloadQuery>,
    ClientIp(address): ClientIp,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    let downloader = Downloader { user: Some(requester.user_id.clone()), address };
    serve::content(&media, &conditions, (&server_name, &media_id), None, query, &downloader).await
}
