//! Blocks of numbers for events, rooms and state snapshots. A number is known before its row is written.

use crate::{DbError, Tx};

/// Reserves `count` numbers and returns the first. Numbers start at 1; unused ones are lost.
pub fn reserve(tx: &mut Tx<'_>, count: i64) -> Result<i64, DbError> {
    tx.query_one(
        "INSERT INTO nid_blocks (name, next_nid) VALUES ('nid', 1 + $1)
         ON CONFLICT (name) DO UPDATE SET next_nid = nid_blocks.next_nid + $1
         RETURNING next_nid - $1",
        &[&count],
        |row| row.get(0),
    )
}
