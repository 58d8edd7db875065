//! GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, AuthGuest, Path, Query, RawJson, State, non_empty};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use plexus_rooms::relations::{RelationFilter, related};
use plexus_rooms::timeline::{self, Direction};
use plexus_service::event_json::{client_format, push_events};
use plexus_store::Position;
use serde::Deserialize;

use crate::access::readable_room;
use crate::message::get_message_events::direction;
use crate::paging_token::{position_of, token};

const DEFAULT_LIMIT: u64 = 5;
const MAX_LIMIT: u64 = 100;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(default, deserialize_with = "non_empty")]
    from: Option<String>,
    #[serde(default, deserialize_with = "non_empty")]
    to: Option<String>,
    limit: Option<u64>,
    dir: Option<String>,
    #[serde(default, alias = "org.matrix.msc3981.recurse")]
    recurse: bool,
}

pub(crate) async fn handle(
    auth: AuthGuest,
    rooms: State<Arc<Rooms>>,
    clock: State<Clock>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    list(auth, rooms, clock, (room_id, event_id), RelationFilter::default(), request).await
}

/// Serves all three endpoints.
pub(super) async fn list(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    (room_id, event_id): (RoomId, EventId),
    filter: RelationFilter,
    request: Request,
) -> Result<RawJson, ApiError> {
    let user = &requester.user_id;
    let direction = direction(request.dir.as_deref().unwrap_or("b"))?;
    let (room, access) = readable_room(&rooms, &room_id, user).await?;
    let not_found = || ApiError::not_found("Unable to find event");
    let parent = timeline::event(&room, &event_id).await?.ok_or_else(not_found)?;
    if timeline::visible(user, &room, vec![parent]).await?.is_empty() {
        return Err(not_found());
    }
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let from = request.from.as_deref().map(position_of).transpose()?;
    let to = request.to.as_deref().map(position_of).transpose()?;
    let last = access.upto(room.view().position);
    let (after, upto) = match direction {
        Direction::Backward => (to.unwrap_or(Position::MIN), from.unwrap_or(last).min(last)),
        Direction::Forward => (from.unwrap_or(Position::MIN), to.unwrap_or(last).min(last)),
    };
    let filter = RelationFilter { recurse: request.recurse, ..filter };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = related(&room, &event_id, filter, after, upto, limit, direction).await?;
    let next = page.more.then(|| match (page.events.last(), direction) {
        (Some(event), Direction::Backward) => event.position - 1,
        (Some(event), Direction::Forward) => event.position,
        // Nothing was requested: the next page begins where this one did.
        (None, Direction::Backward) => upto,
        (None, Direction::Forward) => after,
    });
    let visible = timeline::visible(user, &room, page.events).await?;
    let mut out = String::from("{\"chunk\":");
    push_events(&mut out, &room, &client_format(&requester, clock.now_ms()), &visible).await?;
    if let Some(next) = next {
        out.push_str(&format!(",\"next_batch\":\"{}\"", token(next)));
    }
    if let Some(from) = from {
        out.push_str(&format!(",\"prev_batch\":\"{}\"", token(from)));
    }
    if request.recurse {
        out.push_str(&format!(",\"recursion_depth\":{}", page.depth));
    }
    out.push('}');
    Ok(RawJson(out.into()))
}
