//! GET /_matrix/client/v3/rooms/{roomId}/initialSync

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::room_errors::send_error;
use plexus_http::{ApiError, AuthGuest, Path, Query, RawJson, State};
use plexus_protocol::event::client::basic_event_json;
use plexus_protocol::id::RoomId;
use plexus_protocol::json::ObjectWriter;
use plexus_rooms::Rooms;
use plexus_rooms::timeline::{self, Direction};
use plexus_service::event_json::{client_format, push_state};
use plexus_service::{TimelineRange, TimelineReader};
use plexus_store::{Database, DbError, Position, repo};
use plexus_sync::SettingsCache;
use plexus_sync::filter::RoomEventFilter;
use serde::Deserialize;

use crate::access::readable_room;
use crate::paging_token::token;

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 100;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    limit: Option<usize>,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(db): State<Database>,
    State(rooms): State<Arc<Rooms>>,
    State(settings): State<Arc<SettingsCache>>,
    State(clock): State<Clock>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let user = &requester.user_id;
    let (room, access) = readable_room(&rooms, &room_id, user).await?;
    rooms.full_state(&room).await.map_err(|error| send_error(error.into()))?;
    let last = access.upto(room.view().position);
    let membership = room.view().state.membership(user.as_str());
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let filter = RoomEventFilter::default();
    let settings = settings.get(user).await?;
    let reader = TimelineReader { room: &room, user, settings: &settings, filter: &filter, history: None };
    let range = TimelineRange { after: Position::MIN, upto: last, limit, direction: Direction::Backward };
    let mut events = if limit == 0 { Vec::new() } else { reader.read(range).await?.events };
    events.reverse();
    let state = timeline::state_at(&room, last).await?;
    let (nid, owner) = (room.nid, user.to_string());
    let (is_published, account_data) = db
        .read(move |tx| {
            let account_data = repo::account_data::in_room(tx, &owner, room_id.as_str())?;
            Ok::<_, DbError>((repo::rooms::is_published(tx, nid)?, account_data))
        })
        .await?;

    let format = client_format(&requester, clock.now_ms());
    let mut body = String::new();
    let mut members = ObjectWriter::open(&mut body);
    members.string("room_id", room.id.as_str());
    if let Some(membership) = membership {
        members.string("membership", membership.as_str());
    }
    members.string("visibility", if is_published { "public" } else { "private" });
    let mut messages = ObjectWriter::open(members.key("messages"));
    messages.string("start", &token(events.first().map_or(last, |first| first.event.position - 1)));
    messages.string("end", &token(last));
    let events = events.iter().map(|visible| {
        let mut event = String::new();
        visible.event.write_client(&mut event, &format, Some(visible.membership.as_str()), None);
        event
    });
    let events: Vec<String> = events.collect();
    messages.array("chunk", events.iter().map(String::as_str));
    messages.close();
    push_state(members.key("state"), &room, &format, state).await?;
    let account_data = account_data.iter().map(|data| basic_event_json(&data.event_type, &data.content));
    let account_data: Vec<String> = account_data.collect();
    members.array("account_data", account_data.iter().map(String::as_str));
    members.close();
    Ok(RawJson(body.into()))
}
