//! POST /_matrix/client/v3/publicRooms

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, AuthGuest, JsonBody, JsonOrEmpty, Query, State};
use plexus_rooms::Rooms;
use plexus_rooms::summary::RoomSummary;
use serde::Deserialize;

use super::get_public_rooms::{Page, Response, list};

#[derive(Debug, Deserialize)]
pub struct QueryParameters {
    server: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Request {
    limit: Option<u64>,
    since: Option<String>,
    #[serde(default)]
    filter: Filter,
}

#[derive(Debug, Default, Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    /// `null` stands for rooms without a type.
    room_types: Option<Vec<Option<String>>>,
}

pub async fn handle(
    AuthGuest(_): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(config): State<Arc<Config>>,
    Query(query): Query<QueryParameters>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let term = request.filter.generic_search_term.unwrap_or_default().to_lowercase();
    let types = request.filter.room_types;
    let page = Page { limit: request.limit, since: request.since, server: query.server };
    list(&rooms, &config, page, |room| {
        types.as_ref().is_none_or(|types| types.contains(&room.room_type)) && mentions(room, &term)
    })
    .await
}

/// Whether name, topic or alias contain the term, whatever the case.
fn mentions(room: &RoomSummary, term: &str) -> bool {
    [&room.name, &room.topic, &room.canonical_alias]
        .into_iter()
        .flatten()
        .any(|text| text.to_lowercase().contains(term))
        || term.is_empty()
}
