//! Transaction ids of requests and the events they created: a repeated request gets the same event.

use crate::db::ToSql;
use crate::{DbError, EventNid, Tx};

/// The longest transaction id, in bytes: it is part of an index.
pub const MAX_TXN_ID_BYTES: usize = 255;

/// The transaction id of a request.
#[derive(Debug, Clone)]
pub struct TransactionRow {
    pub event_nid: EventNid,
    /// A hash over sender, device and room, within which the transaction id is unique.
    pub scope: i64,
    pub device_id: String,
    pub txn_id: Vec<u8>,
    /// Unix ms.
    pub created_ts: u64,
}

const INSERT: &str =
    "INSERT INTO event_transactions (event_nid, scope, txn_id, device_id, created_ts) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (scope, txn_id) DO NOTHING";

/// Stores transaction ids; the closure fails when one of them is stored already: see [`is_used`].
pub fn insert(tx: &mut Tx<'_>, rows: &[TransactionRow]) -> Result<(), DbError> {
    tx.change_each_later(
        INSERT,
        rows.iter().map(|row| {
            [
                row.event_nid.to_param(),
                row.scope.to_param(),
                row.txn_id.to_param(),
                row.device_id.to_param(),
                row.created_ts.to_param(),
            ]
        }),
    )
}

/// Whether [`insert`] failed because a transaction id is stored already.
pub fn is_used(error: &DbError) -> bool {
    matches!(error, DbError::Unchanged(INSERT))
}

/// Returns the stored id (see [`crate::event_key`]) of the event that a request created.
pub fn find(tx: &mut Tx<'_>, scope: i64, txn_id: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
    tx.query_opt(
        "SELECT e.event_id FROM event_transactions t JOIN events e ON e.event_nid = t.event_nid
         WHERE t.scope = $1 AND t.txn_id = $2",
        &[&scope, &txn_id],
        |row| row.get(0),
    )
}

/// Deletes requests older than `before` (Unix ms); returns how many. Rows are in order of their numbers, so the old
/// ones come first and are found without an index on the time.
pub fn delete_before(tx: &mut Tx<'_>, before: u64) -> Result<u64, DbError> {
    let kept = tx.query_opt(
        "SELECT event_nid FROM event_transactions WHERE created_ts >= $1 ORDER BY event_nid LIMIT 1",
        &[&before],
        |row| row.get(0),
    )?;
    tx.execute("DELETE FROM event_transactions WHERE event_nid < $1", &[&kept.unwrap_or(EventNid::MAX)])
}
