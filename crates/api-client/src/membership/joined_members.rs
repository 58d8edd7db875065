//! GET /_matrix/client/v3/rooms/{roomId}/joined_members

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_http::room_errors::send_error;
use plexus_http::{ApiError, Auth, JsonBody, Path, State};
use plexus_protocol::id::RoomId;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Rooms, StateEntry, timeline};
use serde::Serialize;

use crate::access::require_joined;

#[derive(Serialize)]
pub(crate) struct Response {
    joined: BTreeMap<String, Member>,
}

#[derive(Serialize)]
struct Member {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
) -> Result<JsonBody<Response>, ApiError> {
    let room = require_joined(&rooms, &room_id, &requester.user_id).await?;
    rooms.full_state(&room).await.map_err(|error| send_error(error.into()))?;
    let view = room.view();
    let entries: Vec<Arc<StateEntry>> = view
        .state
        .of_type("m.room.member")
        .filter(|entry| entry.membership == Some(Membership::Join))
        .cloned()
        .collect();
    let joined = timeline::state_events(&room, &entries)
        .await?
        .into_iter()
        .filter_map(|event| {
            let content = event.pdu.content();
            let text = |key| content.get_str(key).map(str::to_owned);
            let member = Member { display_name: text("displayname"), avatar_url: text("avatar_url") };
            Some((event.pdu.state_key()?.to_owned(), member))
        })
        .collect();
    Ok(JsonBody(Response { joined }))
}
