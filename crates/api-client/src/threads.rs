//! Threads.

pub(crate) mod get_thread_subscription;
pub(crate) mod get_thread_subscriptions_changes;
pub(crate) mod get_threads;
pub(crate) mod subscribe_thread;
pub(crate) mod unsubscribe_thread;

use std::sync::Arc;

use plexus_http::{ApiError, Requester};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::{Room, Rooms, TimelineEvent, timeline};
use plexus_sync::ThreadSubscriptions;

/// 404 unless this server lets users subscribe to threads.
fn require_enabled(subscriptions: &ThreadSubscriptions) -> Result<(), ApiError> {
    if subscriptions.enabled() { Ok(()) } else { Err(ApiError::unrecognized()) }
}

/// Returns the room, and the event in it, if the requester may see that; 404 with the message `missing` otherwise.
async fn visible_event(
    rooms: &Rooms,
    requester: &Requester,
    room_id: &RoomId,
    event_id: &EventId,
    missing: &'static str,
) -> Result<(Arc<Room>, Arc<TimelineEvent>), ApiError> {
    let not_found = || ApiError::not_found(missing);
    let room = rooms.get(room_id).await?.ok_or_else(not_found)?;
    let event = timeline::event(&room, event_id).await?.ok_or_else(not_found)?;
    let visible = timeline::visible(&requester.user_id, &room, vec![event]).await?.pop().ok_or_else(not_found)?;
    Ok((room, visible.event))
}

const NO_ROOT: &str = "No such thread root";
