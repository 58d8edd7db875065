//! What connections of simplified sliding sync have been sent.

use crate::{DbError, Tx};

/// The name of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    pub user_id: String,
    /// Empty for sessions without a device.
    pub device_id: String,
    /// Chosen by the client; may be empty.
    pub conn_id: String,
}

/// A state of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    pub state_id: i64,
    pub state: Vec<u8>,
    pub used_ts: u64,
}

/// Returns the states of a connection.
pub fn states(tx: &mut Tx<'_>, key: &ConnectionKey) -> Result<Vec<StateRow>, DbError> {
    tx.query(
        "SELECT state_id, state, used_ts FROM sliding_sync_connections
         WHERE user_id = $1 AND device_id = $2 AND conn_id = $3",
        &[&key.user_id, &key.device_id, &key.conn_id.as_bytes()],
        |row| Ok(StateRow { state_id: row.get(0)?, state: row.get(1)?, used_ts: row.get(2)? }),
    )
}

/// The most states of a connection: one for each request that is being served at the same time. Beyond it the oldest
/// ones are deleted.
const MAX_STATES_OF_CONNECTION: usize = 8;

/// A state to store.
#[derive(Debug)]
pub struct NewState<'s> {
    pub state_id: i64,
    pub state: &'s [u8],
    /// The state that it follows; `None`: it begins the connection.
    pub previous: Option<i64>,
    /// The states that the client may still present; the others are deleted. `None`: not known.
    pub kept: Option<&'s [i64]>,
    pub now_ms: u64,
}

/// Stores a new state of a connection. Returns `false`, and stores nothing, if the state that it follows has been
/// deleted.
pub fn add(tx: &mut Tx<'_>, key: &ConnectionKey, new: &NewState<'_>) -> Result<bool, DbError> {
    let ConnectionKey { user_id, device_id, conn_id } = key;
    let NewState { state_id, state, previous, kept, now_ms } = new;
    let ids: Vec<i64> = tx.query(
        "SELECT state_id FROM sliding_sync_connections WHERE user_id = $1 AND device_id = $2 AND conn_id = $3
         ORDER BY used_ts DESC, state_id",
        &[user_id, device_id, &conn_id.as_bytes()],
        |row| row.get(0),
    )?;
    if previous.is_some_and(|previous| !ids.contains(&previous)) {
        return Ok(false);
    }
    let (mut left, mut deleted) = (0, Vec::new());
    for id in ids {
        let is_kept = kept.is_none_or(|kept| kept.contains(&id)) && left + 1 < MAX_STATES_OF_CONNECTION;
        if is_kept || Some(id) == *previous {
            left += 1;
        } else {
            deleted.push(id);
        }
    }
    for deleted in deleted {
        tx.execute_later(
            "DELETE FROM sliding_sync_connections
             WHERE user_id = $1 AND device_id = $2 AND conn_id = $3 AND state_id = $4",
            &[user_id, device_id, &conn_id.as_bytes(), &deleted],
        )?;
    }
    tx.execute_later(
        "INSERT INTO sliding_sync_connections (user_id, device_id, conn_id, state_id, state, used_ts)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[user_id, device_id, &conn_id.as_bytes(), state_id, state, now_ms],
    )?;
    Ok(true)
}

/// Deletes the connections of a device that were used least recently, so that `most` are left. Returns their ids.
pub fn delete_beyond(tx: &mut Tx<'_>, user_id: &str, device_id: &str, most: usize) -> Result<Vec<String>, DbError> {
    let mut connections: Vec<String> = tx.query(
        "SELECT conn_id, MAX(used_ts) FROM sliding_sync_connections WHERE user_id = $1 AND device_id = $2
         GROUP BY conn_id ORDER BY 2 DESC, 1",
        &[&user_id, &device_id],
        |row| row.get_with(0, String::from_utf8),
    )?;
    let deleted = connections.split_off(most.min(connections.len()));
    for conn_id in &deleted {
        tx.execute_later(
            "DELETE FROM sliding_sync_connections WHERE user_id = $1 AND device_id = $2 AND conn_id = $3",
            &[&user_id, &device_id, &conn_id.as_bytes()],
        )?;
    }
    Ok(deleted)
}

/// Records when a connection was used.
pub fn set_used(tx: &mut Tx<'_>, key: &ConnectionKey, now_ms: u64) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE sliding_sync_connections SET used_ts = $4 WHERE user_id = $1 AND device_id = $2 AND conn_id = $3",
        &[&key.user_id, &key.device_id, &key.conn_id.as_bytes(), &now_ms],
    )?;
    Ok(())
}

/// Deletes the connections that were last used before `ts` (Unix ms).
pub fn delete_unused(tx: &mut Tx<'_>, ts: u64) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM sliding_sync_connections WHERE used_ts < $1", &[&ts])?;
    Ok(())
}

/// Deletes the connections of a device.
pub fn delete_of_device(tx: &mut Tx<'_>, user_id: &str, device_id: &str) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM sliding_sync_connections WHERE user_id = $1 AND device_id = $2",
        &[&user_id, &device_id],
    )?;
    Ok(())
}
