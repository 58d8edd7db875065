//! PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}

use std::sync::Arc;

use axum::response::Response;
use plexus_http::{ApiError, Json, Origin, Path, Query, State};
use plexus_protocol::id::{EventId, RoomId, ServerName};
use plexus_rooms::PduReceiver;
use plexus_rooms::serve::{self, Arrival};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::answers::{Part, not_taken, refused, streamed};

#[derive(Debug, Deserialize)]
pub struct Request {
    #[serde(default)]
    omit_members: bool,
}

/// A user of the asking server joins; answers the state before that.
pub async fn handle(
    Origin(origin): Origin,
    State(receiver): State<Arc<PduReceiver>>,
    State(server_name): State<ServerName>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    Query(request): Query<Request>,
    Json(event): Json<Box<RawValue>>,
) -> Result<Response, ApiError> {
    let arrival = Arrival { origin: &origin, room_id: &room_id, event_id: &event_id, json: event.get() };
    let joined = serve::join(&receiver, arrival).await.map_err(not_taken)?;
    let state = serve::joined_state(&joined.room, &joined.pdu, request.omit_members).await.map_err(refused)?;
    let mut end = format!("],\"members_omitted\":{},\"origin\":{}", request.omit_members, json!(server_name.as_str()));
    if request.omit_members {
        end.push_str(&format!(",\"servers_in_room\":{}", json!(joined.servers)));
    }
    end.push_str(&format!(",\"event\":{}}}", joined.pdu.json()));
    let parts = vec![
        Part::Text("{\"auth_chain\":[".to_owned()),
        Part::Events(state.auth_chain),
        Part::Text("],\"state\":[".to_owned()),
        Part::Events(state.state),
        Part::Text(end),
    ];
    Ok(streamed(joined.room, parts))
}
