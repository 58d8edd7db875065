//! `m.receipt`

use std::collections::BTreeMap;

use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_rooms::Room;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EduError, EduReceiver, is_joined, speaks_for};
use plexus_sync::receipts::{NewReceipt, ReceiptType, is_thread_id};

/// Room to type to user to receipt; each is read by itself, so that one that is malformed harms no other.
type Content = BTreeMap<RoomId, BTreeMap<String, BTreeMap<UserId, Box<RawValue>>>>;

#[derive(Deserialize)]
struct Told {
    data: Data,
    event_ids: Vec<EventId>,
}

#[derive(Deserialize)]
struct Data {
    ts: u64,
    thread_id: Option<String>,
}

impl EduReceiver {
    pub(super) async fn receipts(&self, origin: &ServerName, content: &str) -> Result<(), EduError> {
        let content: BTreeMap<String, Box<RawValue>> = serde_json::from_str(content)?;
        for (room, told) in content {
            let told = format!("{{{}:{}}}", serde_json::Value::from(room), told.get());
            if let Err(error) = self.receipts_of_room(origin, &told).await {
                tracing::info!("receipts of {origin} are passed over: {error}");
            }
        }
        Ok(())
    }

    async fn receipts_of_room(&self, origin: &ServerName, content: &str) -> Result<(), EduError> {
        let content: Content = serde_json::from_str(content)?;
        for (room, types) in content {
            let room = self.room(origin, &room).await?;
            for (user, told) in types.into_iter().filter(|(kind, _)| kind == "m.read").flat_map(|(_, users)| users) {
                if let Err(error) = self.receipt(origin, &room, user, &told).await {
                    tracing::info!("a receipt of {origin} is passed over: {error}");
                }
            }
        }
        Ok(())
    }

    async fn receipt(&self, origin: &ServerName, room: &Room, user: UserId, told: &RawValue) -> Result<(), EduError> {
        speaks_for(origin, &user)?;
        if !is_joined(room, &user) {
            return Err(EduError::Unrelated);
        }
        let Told { data, event_ids } = serde_json::from_str(told.get())?;
        let Some(event_id) = event_ids.into_iter().next_back() else { return Ok(()) };
        if data.thread_id.as_deref().is_some_and(|id| !is_thread_id(id)) {
            return Err(EduError::Thread);
        }
        let receipt = NewReceipt { user, kind: ReceiptType::Read, event_id, thread: data.thread_id };
        // A time that the database cannot hold is as good as any.
        let ts = data.ts.min(i64::MAX as u64);
        Ok(self.0.receipts.record_at(room, receipt, ts).await?)
    }
}
