//! GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, AuthGuest, Path, Query, RawJson, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use plexus_rooms::relations::RelationFilter;

use super::get_relating_events::{Request, list};

pub(crate) async fn handle(
    auth: AuthGuest,
    rooms: State<Arc<Rooms>>,
    clock: State<Clock>,
    Path((room_id, event_id, rel_type)): Path<(RoomId, EventId, String)>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let filter = RelationFilter { rel_type: Some(rel_type), ..RelationFilter::default() };
    list(auth, rooms, clock, (room_id, event_id), filter, request).await
}
