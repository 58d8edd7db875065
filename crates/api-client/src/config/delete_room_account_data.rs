//! DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, Path, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::Rooms;
use plexus_store::Database;
use plexus_store::repo::account_data::{self, Scope};

use super::{deletes, require_writable};
use crate::access::require_self;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(db): State<Database>,
    State(rooms): State<Arc<Rooms>>,
    Path((user, room_id, event_type)): Path<(UserId, RoomId, String)>,
) -> Result<Empty, ApiError> {
    if !deletes(&config) {
        return Err(ApiError::unrecognized());
    }
    require_self(&requester, &user)?;
    require_writable(&event_type)?;
    let room = rooms.number_and_version(&room_id).await?.map(|(nid, _)| nid);
    db.write(move |tx| {
        let scope = Scope { room_id: room_id.as_str(), room };
        account_data::delete(tx, &user, scope, &event_type)
    })
    .await?;
    Ok(Empty)
}
