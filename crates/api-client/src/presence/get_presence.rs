//! GET /_matrix/client/v3/presence/{userId}/status

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, Auth, Path, RawJson, State};
use plexus_protocol::id::UserId;
use plexus_rooms::Rooms;
use plexus_sync::Presence;
use plexus_sync::presence::share_room;

/// Returns the presence of a user who shares a room with the requester.
pub(crate) async fn handle(
    Auth(requester): Auth,
    State(clock): State<Clock>,
    State(rooms): State<Arc<Rooms>>,
    State(presence): State<Arc<Presence>>,
    Path(user): Path<UserId>,
) -> Result<RawJson, ApiError> {
    if user != requester.user_id {
        let mine = rooms.memberships().of(&requester.user_id).await?;
        let theirs = rooms.memberships().of(&user).await?;
        if !share_room(&mine, &theirs, &presence.excluded_rooms(&rooms).await?) {
            return Err(ApiError::forbidden("You are not allowed to see their presence."));
        }
    }
    let view = presence.get(&user).await?;
    Ok(RawJson(view.status_json(clock.now_ms()).into()))
}
