//! POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Empty, JsonOrEmpty, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::{Rooms, relations};
use plexus_sync::{NewReceipt, Presence, ReceiptType, Receipts};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::access::require_joined;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// `null` is not the same as no thread.
    #[serde(default, deserialize_with = "present")]
    thread_id: Option<Value>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Returns the thread's id, which must not be empty.
fn named(thread_id: Value) -> Result<String, ApiError> {
    match thread_id {
        Value::String(thread) if !thread.is_empty() => Ok(thread),
        _ => Err(ApiError::invalid_param("thread_id must be a string that is not empty")),
    }
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(receipts): State<Arc<Receipts>>,
    State(presence): State<Arc<Presence>>,
    Path((room_id, receipt_type, event_id)): Path<(RoomId, String, EventId)>,
    JsonOrEmpty(Request { thread_id }): JsonOrEmpty<Request>,
) -> Result<Empty, ApiError> {
    let thread = thread_id.map(named).transpose()?;
    let kind = match receipt_type.as_str() {
        "m.read" => Some(ReceiptType::Read),
        "m.read.private" => Some(ReceiptType::ReadPrivate),
        "m.fully_read" if thread.is_some() => {
            return Err(ApiError::invalid_param("thread_id is not compatible with m.fully_read"));
        }
        "m.fully_read" => None,
        _ => {
            let allowed = "Receipt type must be 'm.read', 'm.read.private' or 'm.fully_read'";
            return Err(ApiError::invalid_param(allowed));
        }
    };
    let user = &requester.user_id;
    let room = require_joined(&rooms, &room_id, user).await?;
    if let Some(thread) = &thread
        && !relations::is_in_thread(&room, &event_id, thread).await?
    {
        return Err(ApiError::invalid_param(format!("event_id {event_id} is not related to thread {thread}")));
    }
    presence.active(user);
    match kind {
        Some(kind) => {
            let receipt = NewReceipt { user: user.clone(), kind, event_id, thread };
            receipts.record(&room, receipt).await?;
        }
        None => receipts.set_fully_read(&room, user, &event_id).await?,
    }
    Ok(Empty)
}
