//! PUT /_matrix/federation/v2/invite/{roomId}/{eventId}

use std::sync::Arc;

use plexus_federation::PduReceiver;
use plexus_federation::peers::RawPdu;
use plexus_http::{ApiError, Json, Origin, Path, RawJson, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::Profiles;
use serde::Deserialize;

use super::Invite;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    room_version: String,
    event: RawPdu,
    #[serde(default)]
    invite_room_state: Vec<RawPdu>,
}

/// Invites a local user. Returns the invite with this server's signature.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(receiver): State<Arc<PduReceiver>>,
    State(profiles): State<Arc<Profiles>>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    Json(request): Json<Request>,
) -> Result<RawJson, ApiError> {
    let version: RoomVersion = request.room_version.parse().map_err(|_| {
        let message = "This server does not support the room's version";
        let error = ApiError::bad_request("M_INCOMPATIBLE_ROOM_VERSION", message);
        error.with("room_version", request.room_version.as_str())
    })?;
    let invite = Invite {
        origin: &origin,
        room_id: &room_id,
        event_id: &event_id,
        version,
        event: request.event.get(),
        room_state: &request.invite_room_state,
    };
    let signed = invite.receive(&receiver, &profiles).await?;
    Ok(RawJson(format!("{{\"event\":{}}}", signed.json()).into()))
}
