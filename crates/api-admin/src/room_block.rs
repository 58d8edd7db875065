//! GET and PUT /_synapse/admin/v1/rooms/{roomId}/block

use plexus_http::{ApiError, AuthAdmin, Json, JsonBody, Path, State};
use plexus_protocol::id::RoomId;
use plexus_store::{Database, DbError, repo};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub(crate) struct Request {
    block: bool,
}

#[derive(Serialize)]
pub(crate) struct Response {
    block: bool,
    /// The administrator who blocked the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
}

/// Returns whether the room is blocked. This server need not know it.
pub(crate) async fn get(
    AuthAdmin(_): AuthAdmin,
    State(db): State<Database>,
    Path(room_id): Path<RoomId>,
) -> Result<JsonBody<Response>, ApiError> {
    let read = move |tx: &mut plexus_store::Tx<'_>| repo::blocked_rooms::blocked_by(tx, room_id.as_str());
    let user_id = db.read::<_, DbError, _>(read).await?;
    Ok(JsonBody(Response { block: user_id.is_some(), user_id }))
}

/// Blocks the room, so that no user of this server can enter it or be invited to it, or unblocks it.
pub(crate) async fn put(
    AuthAdmin(requester): AuthAdmin,
    State(db): State<Database>,
    Path(room_id): Path<RoomId>,
    Json(Request { block }): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let change = db.write(move |tx| {
        if block {
            repo::blocked_rooms::block(tx, room_id.as_str(), requester.user_id.as_str())
        } else {
            repo::blocked_rooms::unblock(tx, room_id.as_str())
        }
    });
    change.await?;
    Ok(JsonBody(Response { block, user_id: None }))
}
