//! Users' reports to the administrators.

use super::bounds::{self, BoundError};
use crate::{EventNid, RoomNid, Tx, first};

/// The longest reason, in bytes: several pages of text.
const MAX_REASON_BYTES: usize = 16 * 1024;
/// The most reports of one user that are stored: more than any honest user writes, 16 MiB at most.
const MAX_REPORTS_OF_USER: u64 = 1_000;

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

/// Stores a report.
///
/// # Errors
/// `TooLarge`, or the database's.
pub fn insert(tx: &mut Tx<'_>, report: &Report<'_>) -> Result<(), BoundError> {
    let fits = report.reason.is_none_or(|reason| reason.len() <= MAX_REASON_BYTES);
    bounds::require(fits, "The reason is longer than 16 KiB")?;
    let count = "SELECT COUNT(*) FROM reports WHERE reporter = $1";
    let stored: u64 = tx.query_one(count, &[&report.reporter], first)?;
    bounds::require(stored < MAX_REPORTS_OF_USER, "You have sent too many reports")?;
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
