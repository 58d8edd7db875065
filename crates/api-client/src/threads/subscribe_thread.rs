//! PUT /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{threadRootId}/subscription

use std::sync::Arc;

use http::StatusCode;
use plexus_http::{ApiError, Auth, Empty, JsonOrEmpty, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::{Rooms, TimelineEvent};
use plexus_sync::ThreadSubscriptions;
use plexus_sync::thread_subscriptions::SubscriptionError;
use serde::Deserialize;

use super::{NO_ROOT, require_enabled, visible_event};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// The event in the thread for which the client subscribes by itself.
    automatic: Option<EventId>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(subscriptions): State<ThreadSubscriptions>,
    Path((room_id, root)): Path<(RoomId, EventId)>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<Empty, ApiError> {
    require_enabled(&subscriptions)?;
    let (room, _) = visible_event(&rooms, &requester, &room_id, &root, NO_ROOT).await?;
    let cause = match &request.automatic {
        Some(cause) => {
            let missing = "Automatic subscription event not found";
            let (_, cause) = visible_event(&rooms, &requester, &room_id, cause, missing).await?;
            Some(cause).filter(|cause| is_in_thread(cause, &root)).map(Some).ok_or_else(not_in_thread)?
        }
        None => None,
    };
    let subscribed = subscriptions.subscribe(&requester.user_id, &room, root.as_str(), cause.as_deref()).await;
    subscribed.map_err(|error| match error {
        SubscriptionError::Conflict => {
            ApiError::new(StatusCode::CONFLICT, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION", error.to_string())
        }
        SubscriptionError::Bound(error) => error.into(),
    })?;
    Ok(Empty)
}

fn is_in_thread(event: &TimelineEvent, root: &EventId) -> bool {
    event.pdu.content().get_object("m.relates_to").is_some_and(|relation| {
        relation.get_str("rel_type") == Some("m.thread") && relation.get_str("event_id") == Some(root.as_str())
    })
}

fn not_in_thread() -> ApiError {
    ApiError::bad_request(
        "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD",
        "Automatic subscription must use an event in the thread",
    )
}
