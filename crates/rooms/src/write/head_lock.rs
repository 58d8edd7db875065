//! Locks the head of a room, to build events on it.

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

/// Locks the head of a room. After a failed commit the head is read from the database again.
pub(crate) async fn lock_head<'a>(writer: &RoomWriter, room: &'a Room) -> Result<MutexGuard<'a, Head>, DbError> {
    let mut head = room.head.lock().await;
    let epoch = room.epoch.load(Ordering::Acquire);
    if head.epoch != epoch {
        let (nid, server_name, as_of) = (room.nid, writer.server_name.clone(), room.redactions());
        let loaded = writer.db.read(move |tx| load::room(tx, nid, server_name.as_str(), as_of)).await?;
        let loaded =
            loaded.ok_or_else(|| DbError::bad_data(format!("rooms, room_nid {nid}"), "the room is missing"))?;
        room.replace(loaded.revision, loaded.view);
        *head = Head::of(&room.view(), epoch);
        // Another process may have written later events.
        room.latest_ts.fetch_max(loaded.latest_ts, Ordering::Relaxed);
    }
    Ok(head)
}

/// Locks the head of a room while no event of the room waits to be committed.
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
        // Earlier events in the queue are committed then, or have failed, and the head is read again.
        let _ = permit.send(nothing).await.map_err(|_| DbError::Closed)?;
        head.hidden = false;
        if head.epoch == room.epoch.load(Ordering::Acquire) && !head.is_committed(&room.view()) {
            // No pending event will make them equal: the head has to be read again.
            tracing::warn!(room = %room.id, "the head of the room is not the committed room; reading it again");
            room.epoch.fetch_add(1, Ordering::Release);
        }
    }
}
