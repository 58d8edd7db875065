//! What other servers sent: transactions by which it was told, events that wait to be placed.

use crate::db::ToSql;
use crate::{DbError, RoomNid, Tx, first, pdu_json};

/// What a transaction was answered with (JSON), if it has been received before.
pub fn answer(tx: &mut Tx<'_>, origin: &str, txn_id: &str) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT answer FROM received_transactions WHERE origin = $1 AND txn_id = $2",
        &[&origin, &txn_id.as_bytes()],
        first,
    )
}

/// Notes a transaction's answer (JSON).
pub fn set_answer(tx: &mut Tx<'_>, origin: &str, txn_id: &str, now_ms: u64, answer: &str) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO received_transactions (origin, txn_id, received_ts, answer) VALUES ($1, $2, $3, $4)
         ON CONFLICT (origin, txn_id) DO NOTHING",
        &[&origin, &txn_id.as_bytes(), &now_ms, &answer],
    )?;
    Ok(())
}

/// Forgets transactions received before `before` (Unix ms).
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
    /// See [`pdu_json`].
    pub json: Vec<u8>,
}

/// Stages events; those that are staged already stay as they are.
pub fn stage(tx: &mut Tx<'_>, events: &[NewStaged]) -> Result<(), DbError> {
    tx.insert_many(
        "INSERT INTO staged_pdus (room_nid, origin, event_id, json) VALUES ($1, $2, $3, $4)
         ON CONFLICT (event_id) DO NOTHING",
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
    /// The exact JSON.
    pub json: String,
}

/// The first `limit` staged events of a room.
pub fn staged(tx: &mut Tx<'_>, room: RoomNid, limit: u32) -> Result<Vec<Staged>, DbError> {
    tx.query(
        "SELECT staged_nid, origin, event_id, json FROM staged_pdus WHERE room_nid = $1 ORDER BY staged_nid LIMIT $2",
        &[&room, &limit],
        |row| {
            Ok(Staged {
                staged_nid: row.get(0)?,
                origin: row.get(1)?,
                event_id: row.get(2)?,
                json: row.get_with(3, |bytes: Vec<u8>| pdu_json::unpack(&bytes))?,
            })
        },
    )
}

/// The rooms that have staged events.
pub fn staged_rooms(tx: &mut Tx<'_>) -> Result<Vec<RoomNid>, DbError> {
    tx.query("SELECT DISTINCT room_nid FROM staged_pdus", &[], first)
}

/// Forgets staged events that have been placed or refused.
pub fn unstage(tx: &mut Tx<'_>, staged_nids: &[i64]) -> Result<(), DbError> {
    tx.insert_many("DELETE FROM staged_pdus WHERE staged_nid = $1", staged_nids.iter().map(|nid| [nid.to_param()]))?;
    Ok(())
}
