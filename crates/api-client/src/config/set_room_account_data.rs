//! PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Empty, JsonText, Path, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::Rooms;
use plexus_store::Database;
use plexus_store::repo::account_data::{self, Scope};
use plexus_store::repo::bounds::BoundError;

use super::server_controlled;
use crate::access::{require_self, require_text};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(rooms): State<Arc<Rooms>>,
    Path((user, room_id, event_type)): Path<(UserId, RoomId, String)>,
    JsonText(content): JsonText,
) -> Result<Empty, ApiError> {
    require_self(&requester, &user)?;
    require_text("type", &event_type)?;
    if matches!(event_type.as_str(), "m.push_rules" | "m.fully_read") {
        return Err(server_controlled(&event_type));
    }
    let room = rooms.get(&room_id).await?.map(|room| room.nid);
    db.write(move |tx| {
        let scope = Scope { room_id: room_id.as_str(), room };
        account_data::put(tx, &user, scope, &event_type, &content)?;
        Ok::<_, BoundError>(())
    })
    .await?;
    Ok(Empty)
}
