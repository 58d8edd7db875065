//! POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}

use std::sync::Arc;

use plexus_delivery::receipts::is_thread_id;
use plexus_delivery::{NewReceipt, Presence, ReceiptType, Receipts};
use plexus_http::{ApiError, Auth, Empty, JsonOrEmpty, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use serde::Deserialize;

use crate::own::require_joined;

#[derive(Debug, Deserialize)]
pub struct Request {
    thread_id: Option<String>,
}

pub async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(receipts): State<Arc<Receipts>>,
    State(presence): State<Arc<Presence>>,
    Path((room_id, receipt_type, event_id)): Path<(RoomId, String, EventId)>,
    JsonOrEmpty(Request { thread_id }): JsonOrEmpty<Request>,
) -> Result<Empty, ApiError> {
    let kind = match receipt_type.as_str() {
        "m.read" => Some(ReceiptType::Read),
        "m.read.private" => Some(ReceiptType::ReadPrivate),
        "m.fully_read" if thread_id.is_some() => {
            return Err(ApiError::invalid_param("thread_id is not compatible with m.fully_read"));
        }
        "m.fully_read" => None,
        _ => {
            let allowed = "Receipt type must be 'm.read', 'm.read.private' or 'm.fully_read'";
            return Err(ApiError::invalid_param(allowed));
        }
    };
    if thread_id.as_deref().is_some_and(|id| !is_thread_id(id)) {
        return Err(ApiError::invalid_param("thread_id must be 'main' or an event id"));
    }
    let user = &requester.user_id;
    let room = require_joined(&rooms, &room_id, user).await?;
    presence.active(user);
    match kind {
        Some(kind) => {
            let receipt = NewReceipt { user: user.clone(), kind, event_id, thread: thread_id };
            receipts.record(&room, receipt).await?;
        }
        None => receipts.set_fully_read(&room, user, &event_id).await?,
    }
    Ok(Empty)
}
