//! GET /_matrix/client/v3/events/{eventId}

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, Auth, Path, RawJson, State};
use plexus_protocol::id::EventId;
use plexus_rooms::{Rooms, timeline};
use plexus_service::event_json::{client_format, push_event};
use plexus_store::{Database, event_key, repo};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    Path(event_id): Path<EventId>,
) -> Result<RawJson, ApiError> {
    // An event that does not exist and one that is not visible get the same error.
    let not_found = || ApiError::not_found("Event not found.");
    let key = event_key::encode(&event_id);
    let place = db.read(move |tx| repo::events::find(tx, &key)).await?.ok_or_else(not_found)?;
    let room = rooms.get_readable_nid(place.room_nid).await?.ok_or_else(not_found)?;
    let event = timeline::event(&room, &event_id).await?.ok_or_else(not_found)?;
    let visible = timeline::visible(&requester.user_id, &room, vec![event]).await?.pop().ok_or_else(not_found)?;
    let mut out = String::new();
    push_event(&mut out, &room, &client_format(&requester, clock.now_ms()), &visible).await?;
    Ok(RawJson(out.into()))
}
