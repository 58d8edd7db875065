//! GET /_matrix/client/v3/rooms/{roomId}/messages

use std::sync::Arc;

use plexus_base::Clock;
use plexus_federation::PduReceiver;
use plexus_http::body::in_words;
use plexus_http::{ApiError, AuthGuest, Path, Query, RawJson, State, non_empty};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use plexus_rooms::timeline::Direction;
use plexus_service::event_json::{client_format, members_of_senders, push_events, push_state};
use plexus_service::{TimelinePage, TimelineRange, TimelineReader};
use plexus_store::Position;
use plexus_sync::SettingsCache;
use plexus_sync::filter::RoomEventFilter;
use serde::Deserialize;

use crate::access::readable_room;
use crate::paging_token::{position_of, token};

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 1_000;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    dir: String,
    #[serde(default, deserialize_with = "non_empty")]
    from: Option<String>,
    #[serde(default, deserialize_with = "non_empty")]
    to: Option<String>,
    limit: Option<u64>,
    filter: Option<String>,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(receiver): State<Arc<PduReceiver>>,
    State(settings): State<Arc<SettingsCache>>,
    State(clock): State<Clock>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let direction = direction(&request.dir)?;
    let filter = parse_filter(request.filter.as_deref())?;
    let (room, access) = readable_room(&rooms, &room_id, &requester.user_id).await?;
    let last = access.upto(room.view().position);
    let from = match &request.from {
        Some(from) => position_of(from)?,
        None if direction == Direction::Backward => last,
        None => Position::MIN,
    };
    let to = request.to.as_deref().map(position_of).transpose()?;
    let (after, upto) = match direction {
        Direction::Backward => (to.unwrap_or(Position::MIN), from.min(last)),
        Direction::Forward => (from, to.unwrap_or(last).min(last)),
    };
    let limit = request.limit.map_or(DEFAULT_LIMIT, |limit| usize::try_from(limit).unwrap_or(MAX_LIMIT));
    let page = match limit.min(MAX_LIMIT) {
        0 => TimelinePage { events: Vec::new(), end: Some(from) },
        limit => {
            let settings = settings.get(&requester.user_id).await?;
            let (user, history) = (&requester.user_id, Some(&*receiver));
            let reader = TimelineReader { room: &room, user, settings: &settings, filter: &filter, history };
            reader.read(TimelineRange { after, upto, limit, direction }).await?
        }
    };

    let format = client_format(&requester, clock.now_ms());
    // Clients compare it with the token that they sent.
    let start = request.from.unwrap_or_else(|| token(from));
    let mut out = format!("{{\"start\":{},", serde_json::json!(start));
    if let Some(end) = page.end_for_clients(direction) {
        out.push_str(&format!("\"end\":\"{}\",", token(end)));
    }
    out.push_str("\"chunk\":");
    push_events(&mut out, &room, &format, &page.events).await?;
    if filter.lazy_load_members {
        out.push_str(",\"state\":");
        let members = members_of_senders(&room, access, &page.events).await?;
        push_state(&mut out, &room, &format, members).await?;
    }
    out.push('}');
    Ok(RawJson(out.into()))
}

/// Parses the direction, `b` or `f`.
pub(crate) fn direction(dir: &str) -> Result<Direction, ApiError> {
    match dir {
        "b" => Ok(Direction::Backward),
        "f" => Ok(Direction::Forward),
        _ => Err(ApiError::invalid_param("dir must be b or f")),
    }
}

/// Parses the `filter` parameter: the JSON of a `RoomEventFilter`.
pub(crate) fn parse_filter(filter: Option<&str>) -> Result<RoomEventFilter, ApiError> {
    match filter {
        None => Ok(RoomEventFilter::default()),
        Some(json) => RoomEventFilter::parse(json)
            .map_err(|error| ApiError::not_json(format!("filter: {}", in_words(&error.to_string())))),
    }
}
