//! GET /_matrix/client/v1/room_summary/{roomIdOrAlias}

use std::sync::Arc;

use plexus_http::{ApiError, JsonBody, MaybeAuth, Path, State};
use plexus_rooms::Rooms;
use plexus_rooms::summary::{SummaryDetails, is_accessible};
use serde::Serialize;

use crate::event_json::room_by_id_or_alias;

#[derive(Serialize)]
pub struct Response {
    #[serde(flatten)]
    room: SummaryDetails,
    /// The requester's, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
}

pub async fn handle(
    MaybeAuth(requester): MaybeAuth,
    State(rooms): State<Arc<Rooms>>,
    Path(id_or_alias): Path<String>,
) -> Result<JsonBody<Response>, ApiError> {
    let room = room_by_id_or_alias(&rooms, &id_or_alias).await?;
    let user = requester.as_ref().map(|requester| &requester.user_id);
    if !is_accessible(&rooms, &room, user).await? {
        return Err(ApiError::not_found("Room not found or not accessible"));
    }
    let membership =
        user.map(|user| room.view().state.membership(user.as_str()).map_or("leave", |membership| membership.as_str()));
    Ok(JsonBody(Response { room: SummaryDetails::of(&room), membership }))
}
