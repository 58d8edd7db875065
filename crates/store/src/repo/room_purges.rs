//! Deleting rooms that no user of this server is in, or can read, any more.
//!
//! A room is closed first, so that nobody enters it. Its row in `rooms` is deleted before everything else: from then on
//! the room is unknown, and what is left of it belongs to nothing.

use super::{other_changes, search_documents, search_progress};
use crate::change::HandedOver;
use crate::db::ToSql;
use crate::{Any, DbError, EventNid, RoomNid, SnapshotNid, Tx, UserNid, first};

/// The most rows of one table that one transaction deletes: other writes wait for it.
const MAX_ROWS: u64 = 200;

/// A room that is being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purge {
    pub room_nid: RoomNid,
    /// Unix ms.
    pub closed_ts: u64,
}

/// A user who was in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerMember {
    pub user_nid: UserNid,
    pub user_id: String,
}

/// A room to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub room_id: String,
    /// Whether its deletion has begun.
    pub is_closed: bool,
}

/// Returns at most `limit` rooms that local users were in and that all of them have left and forgotten, and rooms that
/// are closed; only rooms for which no task of a kind is unfinished. Deactivated users count as having forgotten every
/// room that they have left.
pub fn candidates(tx: &mut Tx<'_>, task_kind: &str, limit: u32) -> Result<Vec<Candidate>, DbError> {
    // CROSS: SQLite begins with this server's users.
    tx.query(
        "SELECT f.room_id, MAX(f.is_closed) FROM
             (SELECT r.room_id AS room_id, 0 AS is_closed FROM rooms r JOIN
                  (SELECT m.room_nid FROM users u CROSS JOIN user_ids i CROSS JOIN memberships m
                   WHERE i.user_id = u.user_id AND m.user_nid = i.user_nid
                   GROUP BY m.room_nid
                   HAVING MIN(CASE WHEN m.membership IN (0, 4) AND (m.forgotten = 1 OR u.deactivated = 1)
                       THEN 1 ELSE 0 END) = 1) left_by_all ON left_by_all.room_nid = r.room_nid
              UNION ALL SELECT room_id, 1 FROM room_purges) f
         WHERE NOT EXISTS (SELECT 1 FROM scheduled_tasks t WHERE t.resource_id = f.room_id AND t.kind = $1
             AND t.status IN ('scheduled', 'active'))
         GROUP BY f.room_id ORDER BY f.room_id LIMIT $2",
        &[&task_kind, &limit],
        |row| Ok(Candidate { room_id: row.get(0)?, is_closed: row.get(1)? }),
    )
}

/// Returns the ids of at most `limit` scheduled tasks of a kind about rooms that a local user wants (see [`is_wanted`])
/// and that are not closed.
pub fn tasks_of_wanted(tx: &mut Tx<'_>, task_kind: &str, limit: u32) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT t.task_id FROM scheduled_tasks t
         WHERE t.kind = $1 AND t.status = 'scheduled' AND t.resource_id NOT IN (SELECT room_id FROM room_purges)
             AND t.resource_id IN
                 (SELECT r.room_id FROM users u CROSS JOIN user_ids i CROSS JOIN memberships m CROSS JOIN rooms r
                  WHERE i.user_id = u.user_id AND m.user_nid = i.user_nid AND r.room_nid = m.room_nid
                      AND NOT (m.membership IN (0, 4) AND (m.forgotten = 1 OR u.deactivated = 1)))
         LIMIT $2",
        &[&task_kind, &limit],
        first,
    )
}

/// Whether a local user is in the room or invited to it, knocks on it, or has left it without forgetting it.
pub fn is_wanted(tx: &mut Tx<'_>, room: RoomNid) -> Result<bool, DbError> {
    // CROSS: SQLite begins with this server's users. Of a room's members there is no index.
    let wanted: Option<i64> = tx.query_opt(
        "SELECT 1 FROM users u CROSS JOIN user_ids i CROSS JOIN memberships m
         WHERE i.user_id = u.user_id AND m.user_nid = i.user_nid AND m.room_nid = $1
             AND NOT (m.membership IN (0, 4) AND (m.forgotten = 1 OR u.deactivated = 1)) LIMIT 1",
        &[&room],
        first,
    )?;
    Ok(wanted.is_some())
}

/// Closes a room.
pub fn close(tx: &mut Tx<'_>, room: RoomNid, room_id: &str, now_ms: u64) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO room_purges (room_nid, room_id, closed_ts) VALUES ($1, $2, $3) ON CONFLICT (room_nid) DO NOTHING",
        &[&room, &room_id, &now_ms],
    )?;
    Ok(())
}

/// Opens a room again, or ends its deletion.
pub fn end(tx: &mut Tx<'_>, room: RoomNid) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM room_purges WHERE room_nid = $1", &[&room])?;
    Ok(())
}

/// Returns the room with this id if it is closed.
pub fn get(tx: &mut Tx<'_>, room_id: &str) -> Result<Option<Purge>, DbError> {
    tx.query_opt("SELECT room_nid, closed_ts FROM room_purges WHERE room_id = $1", &[&room_id], |row| {
        Ok(Purge { room_nid: row.get(0)?, closed_ts: row.get(1)? })
    })
}

/// Returns the revision of a room; `None` if its row is deleted.
pub fn revision(tx: &mut Tx<'_>, room: RoomNid) -> Result<Option<i64>, DbError> {
    tx.query_opt("SELECT revision FROM rooms WHERE room_nid = $1", &[&room], first)
}

/// Deletes the room's row, and announces that. Returns `false`, and changes nothing, if the room has changed since
/// `revision`.
pub fn delete_room(tx: &mut Tx<'_>, room: RoomNid, revision: i64) -> Result<bool, DbError> {
    let deleted = tx.execute("DELETE FROM rooms WHERE room_nid = $1 AND revision = $2", &[&room, &revision])?;
    if deleted == 1 {
        other_changes::record_room(tx, room, revision + 1, true, HandedOver::default())?;
    }
    Ok(deleted == 1)
}

/// A table with rows of a room that are found by the room.
#[derive(Debug, Clone, Copy)]
pub struct RoomTable {
    /// Deletes up to `$2` rows of the room `$1`.
    delete: &'static str,
}

/// The tables with rows of a room, other than those of its events, snapshots and members.
const ROOM_TABLES: [&str; 16] = [
    "DELETE FROM room_aliases WHERE alias IN (SELECT alias FROM room_aliases WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM app_service_rooms WHERE room_nid = $1 AND (service_id, network_id) IN
         (SELECT service_id, network_id FROM app_service_rooms WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM staged_pdus WHERE staged_nid IN (SELECT staged_nid FROM staged_pdus WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM outgoing_events WHERE position IN
         (SELECT position FROM outgoing_events WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM receipts WHERE room_nid = $1 AND (user_id, receipt_type, thread_id) IN
         (SELECT user_id, receipt_type, thread_id FROM receipts WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM partial_joins WHERE room_nid IN (SELECT room_nid FROM partial_joins WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM guest_access_ended WHERE room_nid IN
         (SELECT room_nid FROM guest_access_ended WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM timeline_gaps WHERE gap_nid IN (SELECT gap_nid FROM timeline_gaps WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM user_directory_sources WHERE room_nid = $1 AND user_nid IN
         (SELECT user_nid FROM user_directory_sources WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM user_directory_open_rooms WHERE room_nid IN
         (SELECT room_nid FROM user_directory_open_rooms WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM user_directory_old_rooms WHERE room_nid IN
         (SELECT room_nid FROM user_directory_old_rooms WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM search_forgotten_rooms WHERE room_nid IN
         (SELECT room_nid FROM search_forgotten_rooms WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM current_state WHERE room_nid = $1 AND (type_nid, state_key_nid) IN
         (SELECT type_nid, state_key_nid FROM current_state WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM current_state_deltas WHERE room_nid = $1 AND (type_nid, state_key_nid, position) IN
         (SELECT type_nid, state_key_nid, position FROM current_state_deltas WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM room_avatars WHERE room_nid IN (SELECT room_nid FROM room_avatars WHERE room_nid = $1 LIMIT $2)",
    "DELETE FROM reports WHERE report_id IN (SELECT report_id FROM reports WHERE room_nid = $1 LIMIT $2)",
];

/// Returns the tables with rows of a room, other than those of its events, snapshots and members.
pub fn room_tables() -> impl Iterator<Item = RoomTable> + Send {
    ROOM_TABLES.into_iter().map(|delete| RoomTable { delete })
}

/// Deletes rows of a table. Returns whether there may be more.
pub fn delete_rows(tx: &mut Tx<'_>, room: RoomNid, table: RoomTable) -> Result<bool, DbError> {
    Ok(tx.execute(table.delete, &[&room, &MAX_ROWS])? == MAX_ROWS)
}

/// Deletes events of the room; returns how many. None are left when it returns 0.
pub fn delete_events(tx: &mut Tx<'_>, room: RoomNid) -> Result<usize, DbError> {
    let events: Vec<EventNid> =
        tx.query("SELECT event_nid FROM events WHERE room_nid = $1 LIMIT $2", &[&room, &MAX_ROWS], first)?;
    if events.is_empty() {
        return Ok(0);
    }
    search_documents::remove(tx, &events)?;
    search_progress::unqueue(tx, &events)?;
    // Of the redactions in this table there is no index: one statement reads it once.
    let targets: Vec<(Vec<u8>, EventNid)> = tx.query(
        "SELECT target, redaction_nid FROM early_redactions WHERE redaction_nid = ANY($1)",
        &[&Any(&events)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    tx.insert_many_later(
        "DELETE FROM early_redactions WHERE target = $1 AND redaction_nid = $2",
        targets.iter().map(|(target, redaction)| [target.to_param(), redaction.to_param()]),
    )?;
    for delete in [
        "DELETE FROM uncensored_redactions WHERE event_nid = $1",
        "DELETE FROM event_relations WHERE event_nid = $1",
        "DELETE FROM event_transactions WHERE event_nid = $1",
        "DELETE FROM sticky_events WHERE event_nid = $1",
        "DELETE FROM backward_extremities WHERE event_nid = $1",
        "DELETE FROM events WHERE event_nid = $1",
    ] {
        tx.insert_many_later(delete, events.iter().map(|event| [event.to_param()]))?;
    }
    Ok(events.len())
}

/// Returns members of the room after `after`, in the order of their numbers.
pub fn members(tx: &mut Tx<'_>, room: RoomNid, after: UserNid) -> Result<Vec<FormerMember>, DbError> {
    tx.query(
        "SELECT m.user_nid, i.user_id FROM memberships m JOIN user_ids i ON i.user_nid = m.user_nid
         WHERE m.room_nid = $1 AND m.user_nid > $2 ORDER BY m.user_nid LIMIT $3",
        &[&room, &after, &MAX_ROWS],
        |row| Ok(FormerMember { user_nid: row.get(0)?, user_id: row.get(1)? }),
    )
}

/// Deletes the memberships of these users, and what they stored about the room.
pub fn delete_members(tx: &mut Tx<'_>, room: RoomNid, room_id: &str, members: &[FormerMember]) -> Result<(), DbError> {
    tx.insert_many_later(
        "DELETE FROM memberships WHERE user_nid = $1 AND room_nid = $2",
        members.iter().map(|member| [member.user_nid.to_param(), room.to_param()]),
    )?;
    for delete in [
        "DELETE FROM unread_checkpoints WHERE user_id = $1 AND room_nid = $2",
        "DELETE FROM thread_subscriptions WHERE user_id = $1 AND room_nid = $2",
    ] {
        tx.insert_many_later(delete, members.iter().map(|member| [member.user_id.to_param(), room.to_param()]))?;
    }
    tx.insert_many_later(
        "DELETE FROM account_data WHERE user_id = $1 AND room_id = $2",
        members.iter().map(|member| [member.user_id.to_param(), room_id.to_param()]),
    )?;
    Ok(())
}

/// Returns state snapshots of the room after `after`, in the order of their numbers.
pub fn snapshots(tx: &mut Tx<'_>, room: RoomNid, after: SnapshotNid) -> Result<Vec<SnapshotNid>, DbError> {
    tx.query(
        "SELECT snapshot_nid FROM state_snapshots WHERE room_nid = $1 AND snapshot_nid > $2
         ORDER BY snapshot_nid LIMIT $3",
        &[&room, &after, &MAX_ROWS],
        first,
    )
}

/// Deletes state snapshots.
pub fn delete_snapshots(tx: &mut Tx<'_>, snapshots: &[SnapshotNid]) -> Result<(), DbError> {
    tx.insert_many_later(
        "DELETE FROM state_snapshots WHERE snapshot_nid = $1",
        snapshots.iter().map(|snapshot| [snapshot.to_param()]),
    )?;
    Ok(())
}
