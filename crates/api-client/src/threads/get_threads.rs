//! GET /_matrix/client/v1/rooms/{roomId}/threads

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, Auth, Path, Query, RawJson, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::relations::threads;
use plexus_rooms::{Rooms, timeline};
use serde::Deserialize;

use crate::event_json::{format, position_of, push_events, readable_room, token};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

#[derive(Debug, Deserialize)]
pub struct Request {
    /// `all` (the default) or `participated`.
    include: Option<String>,
    limit: Option<u32>,
    from: Option<String>,
}

pub async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let user = &requester.user_id;
    let participant = match request.include.as_deref() {
        None | Some("all") => None,
        Some("participated") => Some(user),
        Some(_) => return Err(ApiError::invalid_param("include must be all or participated")),
    };
    let (room, access) = readable_room(&rooms, &room_id, user).await?;
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    // A token names the place after the oldest thread of a page: what comes next lies before it.
    let before = match request.from.as_deref() {
        Some(from) => position_of(from)?,
        None => access.upto(room.view().position) + 1,
    };
    let found = threads(&room, participant, before, limit).await?;
    let next = found.last().filter(|_| found.len() == limit as usize).map(|(_, latest)| *latest);
    let roots = found.into_iter().map(|(root, _)| root).collect();
    let visible = timeline::visible(user, &room, roots).await?;
    let mut out = String::from("{\"chunk\":");
    push_events(&mut out, &room, &format(&requester, clock.now_ms()), &visible).await?;
    if let Some(next) = next {
        out.push_str(&format!(",\"next_batch\":\"{}\"", token(next)));
    }
    out.push('}');
    Ok(RawJson(out.into()))
}
