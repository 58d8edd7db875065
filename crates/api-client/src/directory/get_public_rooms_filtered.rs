//! POST /_matrix/client/v3/publicRooms

use std::sync::Arc;

use axum::response::Response;
use plexus_base::config::Config;
use plexus_http::{ApiError, AuthGuest, JsonOrEmpty, Query, State};
use plexus_net::FederationClient;
use plexus_rooms::Rooms;
use plexus_rooms::directory::{DirectoryFilter, DirectoryQuery};
use serde::Deserialize;

use super::page;

#[derive(Debug, Deserialize)]
pub(crate) struct QueryParameters {
    server: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    limit: Option<u64>,
    since: Option<String>,
    #[serde(default)]
    filter: DirectoryFilter,
}

pub(crate) async fn handle(
    AuthGuest(_): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(config): State<Arc<Config>>,
    State(others): State<Arc<FederationClient>>,
    Query(parameters): Query<QueryParameters>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<Response, ApiError> {
    let query = DirectoryQuery { limit: request.limit, since: request.since, filter: request.filter };
    page(&rooms, &config, &others, parameters.server.as_deref(), query).await
}
