//! GET /_matrix/client/v3/events

use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;
use plexus_http::{ApiError, LongPolling, Query, RawJson, Session, State, non_empty};
use plexus_protocol::id::RoomId;
use plexus_protocol::json::ObjectWriter;
use plexus_rooms::Rooms;
use plexus_service::event_json::client_format;
use plexus_sync::{EventStream, EventStreamError, Presence, PresenceState, StreamRequest};
use serde::Deserialize;

use crate::access::readable_room;
use crate::paging_token::{position_of, token};

/// How long a request waits that does not say so, in ms.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;
/// The longest a request may wait, whatever the client asks for.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    #[serde(default, deserialize_with = "non_empty")]
    from: Option<String>,
    /// ms
    timeout: Option<u64>,
    room_id: Option<RoomId>,
}

pub(crate) async fn handle(
    session: Session,
    State(stream): State<Arc<EventStream>>,
    State(rooms): State<Arc<Rooms>>,
    State(presence): State<Arc<Presence>>,
    State(clock): State<Clock>,
    LongPolling(long_poll): LongPolling,
    Query(parameters): Query<Parameters>,
) -> Result<RawJson, ApiError> {
    let requester = &session.requester;
    let user = &requester.user_id;
    let after = match parameters.from.as_deref() {
        Some(from) => position_of(from)?,
        None => stream.now(),
    };
    let room = match &parameters.room_id {
        Some(room_id) => Some(readable_room(&rooms, room_id, user).await?.0),
        None if requester.is_guest => return Err(ApiError::missing_param("Guests must name a room by room_id")),
        None => None,
    };
    let device = requester.device_id.as_deref().unwrap_or_default();
    let _connected = if requester.is_guest { None } else { presence.sync_started(user, device, PresenceState::Online) };
    let timeout = Duration::from_millis(parameters.timeout.unwrap_or(DEFAULT_TIMEOUT_MS)).min(MAX_TIMEOUT);
    let page = stream.next(StreamRequest { user: user.clone(), room, after, timeout, long_poll }).await;
    session.require_open().await?;
    let page = page.map_err(|error| match error {
        EventStreamError::Forbidden => ApiError::forbidden(error.to_string()),
        EventStreamError::Database(error) => error.into(),
    })?;

    let format = client_format(requester, clock.now_ms());
    let mut body = String::new();
    let mut members = ObjectWriter::open(&mut body);
    // Clients compare it with the token that they sent.
    members.string("start", &parameters.from.unwrap_or_else(|| token(after)));
    members.string("end", &token(page.end));
    let events = page.events.iter().map(|visible| {
        let mut event = String::new();
        visible.event.write_client(&mut event, &format, Some(visible.membership.as_str()), None);
        event
    });
    let events: Vec<String> = events.collect();
    members.array("chunk", events.iter().map(String::as_str));
    members.close();
    Ok(RawJson(body.into()))
}
