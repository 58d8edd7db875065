//! GET /_matrix/client/v3/publicRooms

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, JsonBody, MaybeAuth, Query, State};
use plexus_rooms::Rooms;
use plexus_rooms::summary::{RoomSummary, published_rooms};
use serde::{Deserialize, Serialize};

const MAX_LIMIT: usize = 500;

#[derive(Debug, Deserialize)]
pub struct Request {
    limit: Option<u64>,
    since: Option<String>,
    server: Option<String>,
}

#[derive(Serialize)]
pub struct Response {
    chunk: Vec<RoomSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    total_room_count_estimate: usize,
}

pub async fn handle(
    MaybeAuth(requester): MaybeAuth,
    State(rooms): State<Arc<Rooms>>,
    State(config): State<Arc<Config>>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    if requester.is_none() && !config.server.allow_public_rooms_without_auth {
        return Err(ApiError::missing_token());
    }
    let page = Page { limit: request.limit, since: request.since, server: request.server };
    list(&rooms, &config, page, |_| true).await
}

/// Which part of the directory is wanted.
pub(super) struct Page {
    pub limit: Option<u64>,
    pub since: Option<String>,
    pub server: Option<String>,
}

/// A part of the directory's rooms that `wanted` lets through.
pub(super) async fn list(
    rooms: &Rooms,
    config: &Config,
    page: Page,
    wanted: impl Fn(&RoomSummary) -> bool,
) -> Result<JsonBody<Response>, ApiError> {
    if page.server.as_deref().is_some_and(|server| server != rooms.server_name().as_str()) {
        return Err(ApiError::not_found("The directories of other servers cannot be asked yet"));
    }
    let mut chunk = if config.rooms.enable_room_list_search { published_rooms(rooms).await? } else { Vec::new() };
    chunk.retain(wanted);
    let total = chunk.len();
    let start = match page.since.as_deref() {
        None => 0,
        Some(since) => since
            .strip_prefix('o')
            .and_then(|offset| offset.parse::<usize>().ok())
            .ok_or_else(|| ApiError::invalid_param("since is not a token of this server"))?,
    };
    let limit = page.limit.filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
    let chunk: Vec<RoomSummary> = chunk.into_iter().skip(start).take(limit).collect();
    let end = start.saturating_add(chunk.len());
    Ok(JsonBody(Response {
        next_batch: (end < total).then(|| format!("o{end}")),
        prev_batch: (start > 0).then(|| format!("o{}", start.saturating_sub(limit))),
        total_room_count_estimate: total,
        chunk,
    }))
}
