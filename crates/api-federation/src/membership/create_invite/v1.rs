//! PUT /_matrix/federation/v1/invite/{roomId}/{eventId}

use std::sync::Arc;

use plexus_federation::PduReceiver;
use plexus_federation::peers::RawPdu;
use plexus_http::body::wrong_shape;
use plexus_http::{ApiError, Json, Origin, Path, RawJson, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::Profiles;
use serde::Deserialize;

use super::Invite;

/// The part of the event that describes the room.
#[derive(Debug, Default, Deserialize)]
struct Unsigned {
    #[serde(default)]
    invite_room_state: Vec<RawPdu>,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default)]
    unsigned: Unsigned,
}

/// As version 2, for rooms of the versions before it, 1 and 2, whose events have the same format.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(receiver): State<Arc<PduReceiver>>,
    State(profiles): State<Arc<Profiles>>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    Json(event): Json<RawPdu>,
) -> Result<RawJson, ApiError> {
    let parsed: Event = serde_json::from_str(event.get()).map_err(|error| wrong_shape(&error))?;
    let invite = Invite {
        origin: &origin,
        room_id: &room_id,
        event_id: &event_id,
        version: RoomVersion::V1,
        event: event.get(),
        room_state: &parsed.unsigned.invite_room_state,
    };
    let signed = invite.receive(&receiver, &profiles).await?;
    Ok(RawJson(format!("[200,{{\"event\":{}}}]", signed.json()).into()))
}
