//! Which event a device's request made: a repeated request is answered with the same event.

use crate::db::ToSql;
use crate::{DbError, EventNid, Later, Tx};

/// One request's transaction id.
#[derive(Debug, Clone)]
pub struct TransactionRow {
    pub event_nid: EventNid,
    /// A hash over sender, device, room and transaction id.
    pub txn_key: [u8; 16],
    pub device_id: String,
    pub txn_id: Vec<u8>,
    /// Unix ms.
    pub created_ts: u64,
}

/// Stores transaction ids. When fewer rows are changed than are given, one of them was used before, and nothing may be kept.
pub fn insert(tx: &mut Tx<'_>, rows: &[TransactionRow]) -> Result<Later, DbError> {
    tx.insert_many_later(
        "INSERT INTO transaction_ids (event_nid, txn_key, device_id, txn_id, created_ts) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (txn_key) DO NOTHING",
        rows.iter().map(|row| {
            [
                row.event_nid.to_param(),
                row.txn_key.to_param(),
                row.device_id.to_param(),
                row.txn_id.to_param(),
                row.created_ts.to_param(),
            ]
        }),
    )
}

/// The stored id (see [`crate::event_key`]) of the event that a request made.
pub fn find(tx: &mut Tx<'_>, txn_key: [u8; 16]) -> Result<Option<Vec<u8>>, DbError> {
    tx.query_opt(
        "SELECT e.event_id FROM transaction_ids t JOIN events e ON e.event_nid = t.event_nid WHERE t.txn_key = $1",
        &[&txn_key],
        |row| row.get(0),
    )
}

/// Forgets requests older than `before` (Unix ms); answers how many.
pub fn delete_before(tx: &mut Tx<'_>, before: u64) -> Result<u64, DbError> {
    tx.execute("DELETE FROM transaction_ids WHERE created_ts < $1", &[&before])
}
