//! GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, AuthGuest, Path, Query, RawJson, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::timeline::{self, Direction};
use plexus_rooms::{Rooms, TimelineEvent};
use plexus_service::event_json::{client_format, members_of_senders, push_event, push_events, push_state};
use plexus_service::{TimelineRange, TimelineReader};
use plexus_store::Position;
use plexus_sync::SettingsCache;
use serde::Deserialize;

use crate::access::readable_room;
use crate::message::get_message_events::parse_filter;
use crate::paging_token::token;

const DEFAULT_LIMIT: u64 = 10;
const MAX_LIMIT: u64 = 1_000;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    limit: Option<u64>,
    filter: Option<String>,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(settings): State<Arc<SettingsCache>>,
    State(clock): State<Clock>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let user = &requester.user_id;
    let filter = parse_filter(request.filter.as_deref())?;
    let (room, access) = readable_room(&rooms, &room_id, user).await?;
    let not_found = || ApiError::not_found("Event not found.");
    let event = timeline::event(&room, &event_id).await?.ok_or_else(not_found)?;
    let visible = timeline::visible(user, &room, vec![event]).await?.pop().ok_or_else(not_found)?;
    let at = visible.event.position;
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(0);
    let last = access.upto(room.view().position);
    let older = TimelineRange { after: Position::MIN, upto: at - 1, limit: limit / 2, direction: Direction::Backward };
    let newer = TimelineRange { after: at, upto: last, limit: limit - limit / 2, direction: Direction::Forward };
    let settings = settings.get(user).await?;
    let reader = TimelineReader { room: &room, user, settings: &settings, filter: &filter, history: None };
    let before = reader.read(older).await?;
    let after = reader.read(newer).await?;

    let oldest = before.events.last().map_or(at, |visible| visible.event.position);
    let newest = after.events.last().map_or(at, |visible| visible.event.position);
    let format = client_format(&requester, clock.now_ms());
    let mut out = format!("{{\"start\":\"{}\",\"end\":\"{}\",\"event\":", token(oldest - 1), token(newest));
    push_event(&mut out, &room, &format, &visible).await?;
    out.push_str(",\"events_before\":");
    push_events(&mut out, &room, &format, &before.events).await?;
    out.push_str(",\"events_after\":");
    push_events(&mut out, &room, &format, &after.events).await?;
    out.push_str(",\"state\":");
    // Of the user's own leave only the event is visible, not the state of a room that the user was not in.
    let mut state = match timeline::state_position(user, &room, access, newest).await? {
        Some(position) => timeline::state_at(&room, position).await?,
        None => Vec::new(),
    };
    if filter.lazy_load_members {
        state.retain(|event: &Arc<TimelineEvent>| event.pdu.event_type() != "m.room.member");
        let shown: Vec<_> = std::iter::once(visible).chain(before.events).chain(after.events).collect();
        state.extend(members_of_senders(&room, access, &shown).await?);
    }
    push_state(&mut out, &room, &format, state).await?;
    out.push('}');
    Ok(RawJson(out.into()))
}
