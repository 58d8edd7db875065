//! POST /_matrix/client/v3/search

mod context;
mod request;
mod write;

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, Auth, Json, Query, RawJson, State, non_empty};
use plexus_rooms::Rooms;
use plexus_service::event_json::client_format;
use plexus_service::search::{FoundPage, Search, SearchQuery};
use plexus_store::full_text::Pattern;
use serde::Deserialize;

use request::{Batch, Criteria, Request};
use write::Response;

#[derive(Debug, Deserialize)]
pub(crate) struct Paging {
    #[serde(default, deserialize_with = "non_empty")]
    next_batch: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(search): State<Option<Arc<Search>>>,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    Query(paging): Query<Paging>,
    Json(request): Json<Request>,
) -> Result<RawJson, ApiError> {
    // As in Synapse.
    let search = search.ok_or_else(|| ApiError::unknown("Search is disabled on this homeserver"))?;
    let batch = paging.next_batch.as_deref().map(Batch::parse).transpose()?;
    let Some(criteria) = request.search_categories.room_events else {
        return Ok(RawJson("{\"search_categories\":{}}".into()));
    };
    let criteria = Criteria::try_from(criteria)?;
    // Until the response is written, which takes memory.
    let turn = search.turn(&requester.user_id).await?;
    let mut searched = turn.rooms(&criteria.filter).await?;
    if let Some(id) = batch.as_ref().and_then(|batch| batch.room.as_ref()) {
        let room = rooms.number_and_version(id).await?.map(|(nid, _)| nid);
        searched.retain(|nid| Some(*nid) == room);
    }
    let page = match Pattern::parse(&criteria.term) {
        Some(pattern) if !searched.is_empty() => {
            let query = SearchQuery {
                pattern,
                keys: criteria.keys.clone(),
                rooms: searched,
                filter: criteria.filter.clone(),
                order: criteria.order,
                from: batch.as_ref().map(|batch| batch.cursor),
                limit: criteria.limit,
            };
            turn.find(&query).await?
        }
        _ => FoundPage::default(),
    };
    let group_room = batch.and_then(|batch| batch.room);
    let format = client_format(&requester, clock.now_ms());
    let settings = turn.settings();
    let response = Response { criteria: &criteria, settings, format, group_room: group_room.as_ref() };
    Ok(RawJson(response.write(page).await?.into()))
}
