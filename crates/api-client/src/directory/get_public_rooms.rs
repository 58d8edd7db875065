//! GET /_matrix/client/v3/publicRooms

use std::sync::Arc;

use axum::response::Response;
use plexus_base::config::Config;
use plexus_http::{ApiError, MaybeAuth, Query, State};
use plexus_net::FederationClient;
use plexus_rooms::Rooms;
use plexus_rooms::directory::DirectoryQuery;
use serde::Deserialize;

use super::page;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    limit: Option<u64>,
    since: Option<String>,
    server: Option<String>,
}

pub(crate) async fn handle(
    MaybeAuth(requester): MaybeAuth,
    State(rooms): State<Arc<Rooms>>,
    State(config): State<Arc<Config>>,
    State(others): State<Arc<FederationClient>>,
    Query(request): Query<Request>,
) -> Result<Response, ApiError> {
    if requester.is_none() && !config.server.allow_public_rooms_without_auth {
        return Err(ApiError::missing_token());
    }
    let query = DirectoryQuery { limit: request.limit, since: request.since, ..DirectoryQuery::default() };
    page(&rooms, &config, &others, request.server.as_deref(), query).await
}
