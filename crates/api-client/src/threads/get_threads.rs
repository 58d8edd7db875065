//! GET /_matrix/client/v1/rooms/{roomId}/threads

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, Auth, Path, Query, RawJson, State, non_empty};
use plexus_protocol::id::RoomId;
use plexus_rooms::relations::{ThreadFilter, ThreadPage, threads};
use plexus_rooms::{Rooms, timeline};
use plexus_service::event_json::{client_format, push_events};
use plexus_store::Position;
use serde::Deserialize;

use crate::access::readable_room;
use crate::paging_token::{position_of, token};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// `all` (the default) or `participated`.
    include: Option<String>,
    limit: Option<u32>,
    #[serde(default, deserialize_with = "non_empty")]
    from: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let user = &requester.user_id;
    let participated = match request.include.as_deref() {
        None | Some("all") => false,
        Some("participated") => true,
        Some(_) => return Err(ApiError::invalid_param("include must be all or participated")),
    };
    if request.limit == Some(0) {
        return Err(ApiError::invalid_param("limit must be greater than zero"));
    }
    let (room, access) = readable_room(&rooms, &room_id, user).await?;
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    // A token stands for the position after the oldest thread of a page: the next page lies before it.
    let before = request.from.as_deref().map(position_of).transpose()?.unwrap_or(Position::MAX);
    let upto = access.upto(room.view().position);
    let ThreadPage { roots, next } = threads(&room, user, ThreadFilter { participated, upto, before, limit }).await?;
    let visible = timeline::visible(user, &room, roots).await?;
    let mut out = String::from("{\"chunk\":");
    push_events(&mut out, &room, &client_format(&requester, clock.now_ms()), &visible).await?;
    if let Some(next) = next {
        out.push_str(&format!(",\"next_batch\":\"{}\"", token(next)));
    }
    out.push('}');
    Ok(RawJson(out.into()))
}
