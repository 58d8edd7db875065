//! PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, JsonText, Path, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::Rooms;
use plexus_store::Database;
use plexus_store::repo::account_data::{self, Scope};
use plexus_store::repo::bounds::BoundError;

use super::{deletes, is_empty, require_writable};
use crate::access::require_self;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(db): State<Database>,
    State(rooms): State<Arc<Rooms>>,
    Path((user, room_id, event_type)): Path<(UserId, RoomId, String)>,
    JsonText(content): JsonText,
) -> Result<Empty, ApiError> {
    require_self(&requester, &user)?;
    require_writable(&event_type)?;
    let deletes = deletes(&config) && is_empty(&content);
    let room = rooms.number_and_version(&room_id).await?.map(|(nid, _)| nid);
    db.write(move |tx| {
        let scope = Scope { room_id: room_id.as_str(), room };
        if deletes {
            account_data::delete(tx, &user, scope, &event_type)?;
        } else {
            account_data::put(tx, &user, scope, &event_type, &content)?;
        }
        Ok::<_, BoundError>(())
    })
    .await?;
    Ok(Empty)
}
