//! POST /_matrix/client/v3/rooms/{roomId}/read_markers

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Empty, JsonOrEmpty, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use plexus_sync::{NewReceipt, Presence, ReceiptType, Receipts};
use serde::Deserialize;

use crate::access::require_joined;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(rename = "m.fully_read")]
    fully_read: Option<EventId>,
    #[serde(rename = "m.read")]
    read: Option<EventId>,
    #[serde(rename = "m.read.private")]
    read_private: Option<EventId>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(receipts): State<Arc<Receipts>>,
    State(presence): State<Arc<Presence>>,
    Path(room_id): Path<RoomId>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<Empty, ApiError> {
    let user = &requester.user_id;
    let room = require_joined(&rooms, &room_id, user).await?;
    presence.active(user);
    for (kind, event_id) in [(ReceiptType::Read, request.read), (ReceiptType::ReadPrivate, request.read_private)] {
        if let Some(event_id) = event_id {
            let receipt = NewReceipt { user: user.clone(), kind, event_id, thread: None };
            receipts.record(&room, receipt).await?;
        }
    }
    if let Some(event_id) = &request.fully_read {
        receipts.set_fully_read(&room, user, event_id).await?;
    }
    Ok(Empty)
}
