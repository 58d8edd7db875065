//! Deleting the rows of a room, some hundred at a time: other writes come in between.

use plexus_protocol::json::Object;
use plexus_store::repo::room_purges;
use plexus_store::{Database, DbError, RoomNid};

use crate::tasks::RunningTask;

/// Deletes everything of a closed room whose row in `rooms` is deleted, and ends its purge. Stores the progress of the
/// task. Returns the number of events; `None` if the task was cancelled meanwhile. It can be called again after an
/// interruption.
pub(super) async fn delete_room_rows(
    db: &Database,
    task: &mut RunningTask,
    room: RoomNid,
    room_id: &str,
) -> Result<Option<usize>, DbError> {
    for table in room_purges::room_tables() {
        while db.write(move |tx| room_purges::delete_rows(tx, room, table)).await? {}
    }
    delete_snapshots(db, room).await?;
    delete_members(db, room, room_id).await?;
    // Events come last: all that was stored of the room meanwhile goes with them.
    let mut count = 0;
    loop {
        let deleted = db.write(move |tx| room_purges::delete_events(tx, room)).await?;
        if deleted == 0 {
            break;
        }
        count += deleted;
        if task.store_progress(event_count(count)).await?.is_err() {
            return Ok(None);
        }
    }
    db.write(move |tx| room_purges::end(tx, room)).await?;
    Ok(Some(count))
}

/// Returns the progress, or the result, of a task that deletes a room.
pub(super) fn event_count(events: usize) -> Object {
    let mut result = Object::new();
    result.insert("events", i64::try_from(events).unwrap_or(i64::MAX));
    result
}

async fn delete_snapshots(db: &Database, room: RoomNid) -> Result<(), DbError> {
    let mut after = 0;
    loop {
        let snapshots = db.read(move |tx| room_purges::snapshots(tx, room, after)).await?;
        let Some(last) = snapshots.last() else { return Ok(()) };
        after = *last;
        db.write(move |tx| room_purges::delete_snapshots(tx, &snapshots)).await?;
    }
}

async fn delete_members(db: &Database, room: RoomNid, room_id: &str) -> Result<(), DbError> {
    let mut after = 0;
    loop {
        let members = db.read(move |tx| room_purges::members(tx, room, after)).await?;
        let Some(last) = members.last() else { return Ok(()) };
        after = last.user_nid;
        let room_id = room_id.to_owned();
        db.write(move |tx| room_purges::delete_members(tx, room, &room_id, &members)).await?;
    }
}
