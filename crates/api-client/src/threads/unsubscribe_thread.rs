//! DELETE /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{threadRootId}/subscription

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Empty, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use plexus_sync::ThreadSubscriptions;

use super::{NO_ROOT, require_enabled, visible_event};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(subscriptions): State<ThreadSubscriptions>,
    Path((room_id, root)): Path<(RoomId, EventId)>,
) -> Result<Empty, ApiError> {
    require_enabled(&subscriptions)?;
    let (room, _) = visible_event(&rooms, &requester, &room_id, &root, NO_ROOT).await?;
    subscriptions.unsubscribe(&requester.user_id, &room, root.as_str()).await?;
    Ok(Empty)
}
