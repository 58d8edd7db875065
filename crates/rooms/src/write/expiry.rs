//! Messages that carry their own expiry (MSC2228): their content is deleted then, and clients see them as redacted.

use std::sync::Arc;

use plexus_protocol::event::redact;
use plexus_protocol::json::{Object, Value};
use plexus_store::{EventNid, HandedOver, repo};

use crate::model::engine_memory::EngineMemory;
use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::stored_events;
use crate::write::error::PersistError;
use crate::write::expiry_task::EVENT_NID;
use crate::write::head_lock;
use crate::write::writer::RoomWriter;

/// Deletes the content of the message that a task with these parameters is about, unless that has happened.
///
/// # Errors
/// When the database fails, or another writer was faster.
pub async fn expire(writer: &RoomWriter, room_id: &str, parameters: &Object) -> Result<(), PersistError> {
    let Some(nid) = parameters.get(EVENT_NID).and_then(Value::as_i64) else { return Ok(()) };
    let Ok(room_id) = room_id.try_into() else { return Ok(()) };
    let Some(room) = writer.rooms.get(&room_id).await? else { return Ok(()) };
    let head = head_lock::settled_head(writer, &room).await?;
    let version = room.version;
    let found = writer.db.read(move |tx| stored_events::by_nids(tx, version, &[nid])).await?.pop();
    let Some(event) = found.filter(|event| !event.is_redacted) else { return Ok(()) };
    let json = redact::redact(&event.pdu).json().to_owned();
    let (nid, revision) = (room.nid, room.revision_of(head.epoch).ok_or(PersistError::Stale)?);
    let expired = ExpiredEvent { room: Arc::clone(&room), nid: event.nid };
    writer
        .db
        .write(move |tx| {
            repo::events::set_expired(tx, expired.nid)?;
            repo::redactions::censor(tx, expired.nid, &json)?;
            repo::rooms::touch(tx, nid, revision, true, HandedOver::new(Arc::new(expired)))?;
            Ok::<_, PersistError>(())
        })
        .await
}

/// A message that has expired.
pub(crate) struct ExpiredEvent {
    pub room: Arc<Room>,
    nid: EventNid,
}

impl ExpiredEvent {
    /// Takes the room in memory to a revision. Runs on the writer thread, while the room's head is held.
    pub(crate) fn apply(&self, memory: &EngineMemory, revision: i64) {
        let view = self.room.view();
        self.room.note_redaction();
        memory.events.remove(self.nid);
        let recent = view
            .recent
            .iter()
            .map(|event| if event.nid == self.nid { Arc::new(event.expired()) } else { Arc::clone(event) });
        let recent = recent.collect();
        self.room.advance(revision, || RoomView { recent, ..RoomView::clone(&view) });
    }
}
