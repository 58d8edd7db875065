//! GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}

use plexus_http::{ApiError, Auth, Path, RawJson, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_store::{Database, repo};

use crate::access::{require_self, require_text};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    Path((user, room, event_type)): Path<(UserId, RoomId, String)>,
) -> Result<RawJson, ApiError> {
    require_self(&requester, &user)?;
    require_text("type", &event_type)?;
    let content = db.read(move |tx| repo::account_data::get(tx, user.as_str(), room.as_str(), &event_type)).await?;
    content.map(|content| RawJson(content.into())).ok_or_else(|| ApiError::not_found("Room account data not found"))
}
