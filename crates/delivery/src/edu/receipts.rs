//! `m.receipt`

use std::collections::BTreeMap;

use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_rooms::Room;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EduError, EduReceiverParts, check_origin, ignore_invalid, is_joined};
use plexus_sync::receipts::{NewReceipt, ReceiptType, is_thread_id};

/// Room to type to user to receipt. Each receipt is parsed by itself, so that a malformed one affects no other.
type Content = BTreeMap<RoomId, BTreeMap<String, BTreeMap<UserId, Box<RawValue>>>>;

#[derive(Deserialize)]
struct UserReceipt {
    data: Data,
    event_ids: Vec<EventId>,
}

#[derive(Deserialize)]
struct Data {
    ts: u64,
    thread_id: Option<String>,
}

pub(super) async fn receive(parts: &EduReceiverParts, origin: &ServerName, content: &str) -> Result<(), EduError> {
    let content: BTreeMap<String, Box<RawValue>> = serde_json::from_str(content)?;
    for (room, receipts) in content {
        let receipts = format!("{{{}:{}}}", serde_json::Value::from(room), receipts.get());
        ignore_invalid("a room's receipts", origin, receipts_of_room(parts, origin, &receipts).await)?;
    }
    Ok(())
}

async fn receipts_of_room(parts: &EduReceiverParts, origin: &ServerName, content: &str) -> Result<(), EduError> {
    let content: Content = serde_json::from_str(content)?;
    for (room, types) in content {
        let room = parts.room(origin, &room).await?;
        for (user, receipt) in types.into_iter().filter(|(kind, _)| kind == "m.read").flat_map(|(_, users)| users) {
            ignore_invalid("a receipt", origin, record(parts, origin, &room, user, &receipt).await)?;
        }
    }
    Ok(())
}

async fn record(
    parts: &EduReceiverParts,
    origin: &ServerName,
    room: &Room,
    user: UserId,
    receipt: &RawValue,
) -> Result<(), EduError> {
    check_origin(origin, &user)?;
    if !is_joined(room, &user) {
        return Err(EduError::Unrelated);
    }
    let UserReceipt { data, event_ids } = serde_json::from_str(receipt.get())?;
    let Some(event_id) = event_ids.into_iter().next_back() else { return Ok(()) };
    if data.thread_id.as_deref().is_some_and(|id| !is_thread_id(id)) {
        return Err(EduError::Thread);
    }
    let receipt = NewReceipt { user, kind: ReceiptType::Read, event_id, thread: data.thread_id };
    // The database cannot hold later times.
    let ts = data.ts.min(i64::MAX as u64);
    Ok(parts.receipts.record_at(room, receipt, ts).await?)
}
