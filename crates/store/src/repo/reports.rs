//! Users' reports to the administrators.

use super::bounds::{self, BoundError};
use crate::{DbError, EventNid, RoomNid, Tx, first};

/// The longest reason, in bytes: several pages of text.
const MAX_REASON_BYTES: usize = 16 * 1024;
/// A report of an event (with its room), of a room, or of a user.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// Unix ms.
    pub received_ts: u64,
    pub reporter: &'a str,
    pub room_nid: Option<RoomNid>,
    pub event_nid: Option<EventNid>,
    pub user_id: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub score: Option<i64>,
}

/// Returns the number of reports of a user that were received at a time (Unix ms) or later.
pub fn count_since(tx: &mut Tx<'_>, reporter: &str, since_ts: u64) -> Result<u64, DbError> {
    let count = "SELECT COUNT(*) FROM reports WHERE reporter = $1 AND received_ts >= $2";
    tx.query_one(count, &[&reporter, &since_ts], first)
}

/// Stores a report.
///
/// # Errors
/// `TooLarge`, or the database's.
pub fn insert(tx: &mut Tx<'_>, report: &Report<'_>) -> Result<(), BoundError> {
    let fits = report.reason.is_none_or(|reason| reason.len() <= MAX_REASON_BYTES);
    bounds::require(fits, "The reason is longer than 16 KiB")?;
    tx.execute_later(
        "INSERT INTO reports (received_ts, reporter, room_nid, event_nid, user_id, reason, score)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            &report.received_ts,
            &report.reporter,
            &report.room_nid,
            &report.event_nid,
            &report.user_id,
            &report.reason,
            &report.score,
        ],
    )?;
    Ok(())
}
