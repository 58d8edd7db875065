//! GET /_matrix/client/v3/rooms/{roomId}/messages

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, AuthGuest, Path, Query, RawJson, State, non_empty};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::timeline::{self, Direction, VisibleEvent};
use plexus_rooms::{Filled, PduReceiver, Room, Rooms, TimelineEvent};
use plexus_service::event_json::{client_format, members_of_senders, push_events, push_state};
use plexus_store::{EventNid, Position};
use plexus_sync::filter::RoomEventFilter;
use serde::Deserialize;

use crate::access::readable_room;
use crate::paging_token::{position_of, token};

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 1_000;
/// How many pages a strict filter may make the server read for one answer.
const MAX_READS: usize = 10;
/// How often events are fetched into a gap of the timeline for one answer: some thousands of them at a time.
const MAX_FILLS: usize = 3;

#[derive(Debug, Deserialize)]
pub struct Request {
    dir: String,
    #[serde(default, deserialize_with = "non_empty")]
    from: Option<String>,
    #[serde(default, deserialize_with = "non_empty")]
    to: Option<String>,
    limit: Option<u64>,
    filter: Option<String>,
}

pub async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(receiver): State<Arc<PduReceiver>>,
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
        0 => Page { events: Vec::new(), end: Some(from) },
        limit => {
            let range = Range { after, upto, limit, direction };
            read(&room, &requester.user_id, &filter, range, Some(&receiver)).await?
        }
    };

    let format = client_format(&requester, clock.now_ms());
    // Clients compare it with the token they sent.
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

/// Which events are to be read: `after < position <= upto`.
pub(crate) struct Range {
    pub after: Position,
    pub upto: Position,
    pub limit: usize,
    pub direction: Direction,
}

/// A page of events.
pub(crate) struct Page {
    pub events: Vec<VisibleEvent>,
    /// Where the next page begins; `None` when there is nothing further.
    pub end: Option<Position>,
}

impl Page {
    /// The `end` of `/messages`. Every chunk that is not empty has one, also the last: some clients drop a chunk
    /// without one.
    fn end_for_clients(&self, direction: Direction) -> Option<Position> {
        self.end.or_else(|| next_page(direction, self.events.last().map(|visible| visible.event.position)))
    }
}

/// Reads events that the user may see and the filter lets through. What this server has never had of the room's past is
/// fetched by `history`; without it the page ends where that begins.
pub(crate) async fn read(
    room: &Arc<Room>,
    user: &UserId,
    filter: &RoomEventFilter,
    range: Range,
    history: Option<&PduReceiver>,
) -> Result<Page, ApiError> {
    let Range { mut after, mut upto, limit, direction } = range;
    let mut events = Vec::new();
    if !filter.allows_room(room.id.as_str()) {
        return Ok(Page { events, end: None });
    }
    let mut fills = 0;
    for _ in 0..MAX_READS {
        let gap = room.view().gaps.first_open(after, upto, direction);
        let (first, last) = match (gap, direction) {
            (None, _) => (after, upto),
            (Some(gap), Direction::Backward) => (gap.lowest - 1, upto),
            (Some(gap), Direction::Forward) => (after, gap.floor()),
        };
        let read = timeline::range(room, first, last, limit, direction).await?;
        let exhausted = read.len() < limit;
        let last_read = read.last().map(|event| event.position);
        let wanted = read.into_iter().filter(|event| allows(filter, event)).collect();
        for visible in timeline::visible(user, room, wanted).await? {
            if events.len() == limit {
                let next = next_page(direction, events.last().map(|it: &VisibleEvent| it.event.position));
                return Ok(Page { events, end: next });
            }
            events.push(visible);
        }
        let next = next_page(direction, last_read);
        if let Some(gap) = gap.filter(|_| exhausted) {
            let here = next.unwrap_or(if direction == Direction::Backward { upto } else { after });
            let Some(history) = history.filter(|_| events.len() < limit && fills < MAX_FILLS) else {
                return Ok(Page { events, end: Some(here) });
            };
            fills += 1;
            let filled = fill(history, room, gap.gap_nid).await;
            // What lies behind a gap that nobody fills is there all the same.
            let on = match (filled, direction) {
                (Filled::Some | Filled::NotYet, _) => here,
                (Filled::Nothing, Direction::Backward) => gap.floor(),
                (Filled::Nothing, Direction::Forward) => gap.lowest - 1,
            };
            if filled == Filled::NotYet || (filled == Filled::Nothing && !events.is_empty()) {
                // The client has waited long enough; it goes on from there with its next request.
                return Ok(Page { events, end: Some(on) });
            }
            match direction {
                Direction::Backward => upto = on,
                Direction::Forward => after = on,
            }
            continue;
        }
        match (exhausted, next) {
            (false, Some(next)) if events.len() < limit => match direction {
                Direction::Backward => upto = next,
                Direction::Forward => after = next,
            },
            (false, next) => return Ok(Page { events, end: next }),
            (true, next) => {
                let Some(history) = history.filter(|_| direction == Direction::Backward && after == Position::MIN)
                else {
                    // The room begins, or ends, here.
                    return Ok(Page { events, end: None });
                };
                // That the past cannot be had is no reason to withhold what is there.
                match history.backfill(room).await {
                    Ok(true) => upto = next.unwrap_or(upto),
                    Ok(false) => return Ok(Page { events, end: None }),
                    Err(error) => {
                        tracing::warn!(room = %room.id, "cannot page back: {error}");
                        return Ok(Page { events, end: None });
                    }
                }
                if events.len() == limit {
                    let last = events.last().map(|it: &VisibleEvent| it.event.position);
                    return Ok(Page { events, end: next_page(direction, last) });
                }
            }
        }
    }
    let end = Some(if direction == Direction::Backward { upto } else { after });
    Ok(Page { events, end })
}

/// Fetches events that are missing from a gap of the timeline.
async fn fill(history: &PduReceiver, room: &Arc<Room>, gap_nid: EventNid) -> Filled {
    history.fill_gap(room, gap_nid).await.unwrap_or_else(|error| {
        tracing::warn!(room = %room.id, "a gap of the timeline is not filled: {error}");
        Filled::Nothing
    })
}

fn next_page(direction: Direction, last: Option<Position>) -> Option<Position> {
    match direction {
        Direction::Backward => last.map(|position| position - 1),
        Direction::Forward => last,
    }
}

/// Whether the filter lets an event through.
pub(crate) fn allows(filter: &RoomEventFilter, event: &TimelineEvent) -> bool {
    let pdu = &event.pdu;
    filter.allows(pdu.event_type(), pdu.sender().as_str(), || pdu.content().get_str("url").is_some())
}

/// `b` or `f`.
pub(crate) fn direction(dir: &str) -> Result<Direction, ApiError> {
    match dir {
        "b" => Ok(Direction::Backward),
        "f" => Ok(Direction::Forward),
        _ => Err(ApiError::invalid_param("dir must be b or f")),
    }
}

/// The `filter` parameter: the JSON of a `RoomEventFilter`.
pub(crate) fn parse_filter(filter: Option<&str>) -> Result<RoomEventFilter, ApiError> {
    match filter {
        None => Ok(RoomEventFilter::default()),
        Some(json) => RoomEventFilter::parse(json).map_err(|error| ApiError::not_json(format!("filter: {error}"))),
    }
}
