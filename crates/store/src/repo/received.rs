//! Data received from other servers: transactions, and staged events.

use super::events::unpacked;
use crate::db::{Any, Row, ToSql};
use crate::pdu_json::UnpackError;
use crate::{DbError, RoomNid, Tx, first};

/// Returns the stored response (JSON) to a transaction, if it has been received before.
pub fn response(tx: &mut Tx<'_>, origin: &str, txn_id: &str) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT answer FROM received_transactions WHERE origin = $1 AND txn_id = $2",
        &[&origin, &txn_id.as_bytes()],
        first,
    )
}

/// Stores the response (JSON) to a transaction.
pub fn set_response(tx: &mut Tx<'_>, origin: &str, txn_id: &str, now_ms: u64, response: &str) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO received_transactions (origin, txn_id, received_ts, answer) VALUES ($1, $2, $3, $4)
         ON CONFLICT (origin, txn_id) DO NOTHING",
        &[&origin, &txn_id.as_bytes(), &now_ms, &response],
    )?;
    Ok(())
}

/// Deletes transactions received before `before` (Unix ms).
pub fn forget_before(tx: &mut Tx<'_>, before: u64) -> Result<u64, DbError> {
    tx.execute("DELETE FROM received_transactions WHERE received_ts < $1", &[&before])
}

/// An event to be staged.
#[derive(Debug, Clone)]
pub struct NewStaged {
    pub room_nid: RoomNid,
    pub origin: String,
    /// See [`crate::event_key`].
    pub event_id: Vec<u8>,
    /// See [`crate::pdu_json`].
    pub json: Vec<u8>,
}

/// Stages events, each at most once. Events that are staged already stay unchanged, except that those set aside are
/// tried again now, with the help of the server that has sent them this time.
pub fn stage(tx: &mut Tx<'_>, events: &[NewStaged]) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO staged_pdus (room_nid, origin, event_id, json) VALUES ($1, $2, $3, $4)
         ON CONFLICT (event_id) DO UPDATE SET origin = excluded.origin, retry_ts = 0,
             failures = CASE WHEN staged_pdus.origin = excluded.origin THEN staged_pdus.failures ELSE 0 END
         WHERE staged_pdus.retry_ts > 0",
        events.iter().map(|event| {
            [event.room_nid.to_param(), event.origin.to_param(), event.event_id.to_param(), event.json.to_param()]
        }),
    )?;
    Ok(())
}

/// A staged event.
#[derive(Debug, Clone)]
pub struct Staged {
    pub staged_nid: i64,
    pub origin: String,
    /// See [`crate::event_key`].
    pub event_id: Vec<u8>,
    /// The exact JSON, if it can be read.
    pub json: Result<String, UnpackError>,
}

/// Returns the first `limit` staged events of a room after number `after`, without those from some servers and those
/// set aside.
pub fn staged(
    tx: &mut Tx<'_>,
    room: RoomNid,
    after: i64,
    without: &[String],
    limit: u32,
) -> Result<Vec<Staged>, DbError> {
    tx.query(
        "SELECT staged_nid, origin, event_id, json FROM staged_pdus
         WHERE room_nid = $1 AND staged_nid > $2 AND retry_ts = 0 AND NOT (origin = ANY($3))
         ORDER BY staged_nid LIMIT $4",
        &[&room, &after, &Any(without), &limit],
        read,
    )
}

/// Returns the first `limit` staged events of a room from `origin`, without those set aside.
pub fn staged_by(tx: &mut Tx<'_>, room: RoomNid, origin: &str, limit: u32) -> Result<Vec<Staged>, DbError> {
    tx.query(
        "SELECT staged_nid, origin, event_id, json FROM staged_pdus
         WHERE origin = $1 AND room_nid = $2 AND retry_ts = 0 ORDER BY staged_nid LIMIT $3",
        &[&origin, &room, &limit],
        read,
    )
}

/// Returns how many events from `origin` are staged, counted up to `most` and without those set aside.
pub fn count_of(tx: &mut Tx<'_>, origin: &str, most: u32) -> Result<u32, DbError> {
    tx.query_one(
        "SELECT COUNT(*) FROM (SELECT 1 FROM staged_pdus WHERE origin = $1 AND retry_ts = 0 LIMIT $2) AS counted",
        &[&origin, &most],
        first,
    )
}

/// Returns the rooms with staged events that are not deferred.
pub fn staged_rooms(tx: &mut Tx<'_>) -> Result<Vec<RoomNid>, DbError> {
    tx.query("SELECT DISTINCT room_nid FROM staged_pdus WHERE retry_ts = 0", &[], first)
}

/// Returns how often adding a staged event has failed, and how many deferred events its sender has, counted up to
/// `most`.
pub fn failures(tx: &mut Tx<'_>, staged_nid: i64, origin: &str, most: u32) -> Result<(i64, u32), DbError> {
    let failures = tx.query_opt("SELECT failures FROM staged_pdus WHERE staged_nid = $1", &[&staged_nid], first)?;
    let others = tx.query_one(
        "SELECT COUNT(*) FROM (SELECT 1 FROM staged_pdus WHERE origin = $1 AND retry_ts > 0 LIMIT $2) AS counted",
        &[&origin, &most],
        first,
    )?;
    Ok((failures.unwrap_or(0), others))
}

/// Defers a staged event that could not be added to `retry_ts` (Unix ms), and counts the failure.
pub fn defer(tx: &mut Tx<'_>, staged_nid: i64, retry_ts: u64) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE staged_pdus SET failures = failures + 1, retry_ts = $2 WHERE staged_nid = $1",
        &[&staged_nid, &retry_ts],
    )?;
    Ok(())
}

/// Returns when the next deferred event is due, in Unix ms.
pub fn next_retry(tx: &mut Tx<'_>) -> Result<Option<u64>, DbError> {
    tx.query_opt("SELECT retry_ts FROM staged_pdus WHERE retry_ts > 0 ORDER BY retry_ts LIMIT 1", &[], first)
}

/// Stages the deferred events that are due by `upto` (Unix ms) again. Returns their rooms.
pub fn take_due(tx: &mut Tx<'_>, upto: u64) -> Result<Vec<RoomNid>, DbError> {
    let rooms =
        tx.query("SELECT DISTINCT room_nid FROM staged_pdus WHERE retry_ts > 0 AND retry_ts <= $1", &[&upto], first)?;
    tx.execute_later("UPDATE staged_pdus SET retry_ts = 0 WHERE retry_ts > 0 AND retry_ts <= $1", &[&upto])?;
    Ok(rooms)
}

/// Deletes staged events that were added to their room or refused.
pub fn unstage(tx: &mut Tx<'_>, staged_nids: &[i64]) -> Result<(), DbError> {
    tx.insert_many_later(
        "DELETE FROM staged_pdus WHERE staged_nid = $1",
        staged_nids.iter().map(|nid| [nid.to_param()]),
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Staged, DbError> {
    Ok(Staged { staged_nid: row.get(0)?, origin: row.get(1)?, event_id: row.get(2)?, json: unpacked(row, 3)? })
}
