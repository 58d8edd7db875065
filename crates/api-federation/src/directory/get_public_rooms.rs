//! GET /_matrix/federation/v1/publicRooms

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, JsonBody, Query, State};
use plexus_rooms::Rooms;
use plexus_rooms::directory::{DirectoryPage, DirectoryQuery};
use serde::Deserialize;

use super::page;

#[derive(Deserialize)]
pub(crate) struct Request {
    limit: Option<u64>,
    since: Option<String>,
}

pub(crate) async fn handle(
    State(rooms): State<Arc<Rooms>>,
    State(config): State<Arc<Config>>,
    Query(request): Query<Request>,
) -> Result<JsonBody<DirectoryPage>, ApiError> {
    let query = DirectoryQuery { limit: request.limit, since: request.since, ..DirectoryQuery::default() };
    page(&rooms, &config, query).await
}
