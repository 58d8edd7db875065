//! Failing servers and their backoff.

use crate::{DbError, Tx};

/// A server to which requests fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingDestination {
    pub server_name: String,
    /// When it began to fail, in Unix ms.
    pub failure_ts: u64,
    /// When it was last tried, in Unix ms.
    pub retry_last_ts: u64,
    /// How long it is not contacted since then, in ms.
    pub retry_interval_ms: u64,
}

/// Returns all failing servers.
pub fn failing(tx: &mut Tx<'_>) -> Result<Vec<FailingDestination>, DbError> {
    tx.query(
        "SELECT server_name, failure_ts, retry_last_ts, retry_interval_ms FROM destinations
         WHERE failure_ts IS NOT NULL",
        &[],
        |row| {
            Ok(FailingDestination {
                server_name: row.get(0)?,
                failure_ts: row.get(1)?,
                retry_last_ts: row.get(2)?,
                retry_interval_ms: row.get(3)?,
            })
        },
    )
}

/// Whether there is, or was, a server with this name: its keys are known, from itself or from a trusted key server. Any
/// other name may be made up; it may even have a cursor, because a user sent messages to devices there.
pub fn is_server(tx: &mut Tx<'_>, server_name: &str) -> Result<bool, DbError> {
    let keys = tx.query("SELECT 1 FROM server_keys WHERE server_name = $1 LIMIT 1", &[&server_name], |_| Ok(()))?;
    Ok(!keys.is_empty())
}

/// Records that requests to a server fail.
pub fn set_failing(tx: &mut Tx<'_>, failing: &FailingDestination) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO destinations (server_name, failure_ts, retry_last_ts, retry_interval_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (server_name) DO UPDATE SET failure_ts = excluded.failure_ts,
         retry_last_ts = excluded.retry_last_ts, retry_interval_ms = excluded.retry_interval_ms",
        &[&failing.server_name, &failing.failure_ts, &failing.retry_last_ts, &failing.retry_interval_ms],
    )?;
    Ok(())
}

/// Deletes the record of a server that works again.
pub fn set_working(tx: &mut Tx<'_>, server_name: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM destinations WHERE server_name = $1", &[&server_name])?;
    Ok(())
}

/// Forgets servers that were last tried before `ts` (Unix ms): nothing needs them any more.
pub fn forget_before(tx: &mut Tx<'_>, ts: u64) -> Result<u64, DbError> {
    tx.execute("DELETE FROM destinations WHERE retry_last_ts < $1", &[&ts])
}
