//! Locks a room's head, to build on it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use plexus_store::DbError;
use tokio::sync::MutexGuard;

use crate::model::head::Head;
use crate::model::load;
use crate::model::room::Room;
use crate::write::error::PersistError;
use crate::write::pending::Append;
use crate::write::writer::RoomWriter;

/// The room's head, to build on. After a failed commit it is taken from the database again.
pub(crate) async fn lock_head<'a>(writer: &RoomWriter, room: &'a Room) -> Result<MutexGuard<'a, Head>, DbError> {
    let mut head = room.head.lock().await;
    let epoch = room.epoch.load(Ordering::Acquire);
    if head.epoch != epoch {
        let (nid, server_name, as_of) = (room.nid, writer.server_name.clone(), room.redactions());
        let loaded = writer.db.read(move |tx| load::room(tx, nid, server_name.as_str(), as_of)).await?;
        let loaded = loaded.ok_or_else(|| DbError::bad_data(format!("rooms, room_nid {nid}"), "the room is gone"))?;
        room.replace(loaded.revision, loaded.view);
        *head = Head::of(&room.view(), epoch);
        // Whoever has moved the room on may have written later events.
        room.latest_ts.fetch_max(loaded.latest_ts, Ordering::Relaxed);
    }
    Ok(head)
}

/// The room's head when nothing is on its way to the database.
pub(crate) async fn settled_head<'a>(
    writer: &RoomWriter,
    room: &'a Arc<Room>,
) -> Result<MutexGuard<'a, Head>, PersistError> {
    loop {
        let mut head = lock_head(writer, room).await?;
        if head.is_committed(&room.view()) {
            head.redacting = false;
            return Ok(head);
        }
        let permit = writer.persister.reserve().await?;
        let (epoch, events) = (head.epoch, Vec::new());
        let nothing = Append { room: Arc::clone(room), epoch, events, creation: None, entered: None };
        // What is before it in the queue is committed, or has failed and the head is read anew.
        let _ = permit.send(nothing).await.map_err(|_| DbError::Closed)?;
        head.hidden = false;
        if head.epoch == room.epoch.load(Ordering::Acquire) && !head.is_committed(&room.view()) {
            // Nothing is on its way any more that could bring them together: it is read anew, too.
            tracing::warn!(room = %room.id, "the room's head is not what is committed");
            room.epoch.fetch_add(1, Ordering::Release);
        }
    }
}
