//! Delayed events (MSC4140): events that users have scheduled, and for a while those that were sent or cancelled.

use crate::{DbError, Position, RoomNid, Row, Tx, first};

/// A delayed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayedEvent {
    pub delay_id: String,
    pub user_id: String,
    pub request: Option<DelayRequest>,
    pub room_id: String,
    pub event_type: String,
    pub state_key: Option<String>,
    /// JSON.
    pub content: String,
    pub delay_ms: u64,
    pub sticky_duration_ms: Option<u64>,
    pub delayed_since_ts: u64,
    pub finalised: Option<Finalised>,
}

/// The request that scheduled a delayed event, if it had a transaction id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayRequest {
    pub device_id: String,
    /// The name of the endpoint.
    pub endpoint: String,
    pub txn_id: String,
}

/// How a delayed event ended: it was sent, it was cancelled by an error, or, with neither event nor error, by a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalised {
    pub finalised_ts: u64,
    pub event_id: Option<String>,
    /// JSON.
    pub error: Option<String>,
}

impl DelayedEvent {
    /// Returns the time at which it is to be sent, in Unix ms.
    #[must_use]
    pub fn due_ms(&self) -> u64 {
        self.delayed_since_ts.saturating_add(self.delay_ms)
    }
}

fn delayed_event(row: &Row<'_>) -> Result<DelayedEvent, DbError> {
    let (event_id, error) = (row.get(11)?, row.get(12)?);
    let request = match (row.get(2)?, row.get(13)?, row.get(3)?) {
        (Some(device_id), Some(endpoint), Some(txn_id)) => Some(DelayRequest { device_id, endpoint, txn_id }),
        _ => None,
    };
    Ok(DelayedEvent {
        delay_id: row.get(0)?,
        user_id: row.get(1)?,
        request,
        room_id: row.get(4)?,
        event_type: row.get(5)?,
        state_key: row.get(6)?,
        content: row.get(7)?,
        delay_ms: row.get(8)?,
        sticky_duration_ms: row.get(14)?,
        delayed_since_ts: row.get(9)?,
        finalised: row.get::<Option<u64>>(10)?.map(|finalised_ts| Finalised { finalised_ts, event_id, error }),
    })
}

/// Stores a new delayed event, scheduled after `position`.
pub fn insert(tx: &mut Tx<'_>, event: &DelayedEvent, position: Position) -> Result<(), DbError> {
    let request = event.request.as_ref();
    tx.execute_later(
        "INSERT INTO delayed_events
             (delay_id, user_id, device_id, txn_id, room_id, event_type, state_key, content, delay_ms,
              delayed_since_ts, scheduled_position, endpoint, sticky_duration_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        &[
            &event.delay_id,
            &event.user_id,
            &request.map(|it| it.device_id.as_str()),
            &request.map(|it| it.txn_id.as_str()),
            &event.room_id,
            &event.event_type,
            &event.state_key,
            &event.content,
            &event.delay_ms,
            &event.delayed_since_ts,
            &position,
            &request.map(|it| it.endpoint.as_str()),
            &event.sticky_duration_ms,
        ],
    )?;
    Ok(())
}

/// Returns a delayed event.
pub fn get(tx: &mut Tx<'_>, delay_id: &str) -> Result<Option<DelayedEvent>, DbError> {
    tx.query_opt(
        "SELECT delay_id, user_id, device_id, txn_id, room_id, event_type, state_key, content, delay_ms,
                delayed_since_ts, finalised_ts, event_id, error, endpoint, sticky_duration_ms
         FROM delayed_events WHERE delay_id = $1",
        &[&delay_id],
        delayed_event,
    )
}

/// Returns the id of the delayed event that the same request has scheduled before.
pub fn of_request(tx: &mut Tx<'_>, event: &DelayedEvent) -> Result<Option<String>, DbError> {
    let Some(DelayRequest { device_id, endpoint, txn_id }) = &event.request else { return Ok(None) };
    tx.query_opt(
        "SELECT delay_id FROM delayed_events
         WHERE user_id = $1 AND room_id = $2 AND device_id = $3 AND endpoint = $4 AND event_type = $5 AND txn_id = $6",
        &[&event.user_id, &event.room_id, device_id, endpoint, &event.event_type, txn_id],
        first,
    )
}

/// Returns a user's scheduled events, the next to be sent first.
pub fn scheduled(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<DelayedEvent>, DbError> {
    tx.query(
        "SELECT delay_id, user_id, device_id, txn_id, room_id, event_type, state_key, content, delay_ms,
                delayed_since_ts, finalised_ts, event_id, error, endpoint, sticky_duration_ms
         FROM delayed_events WHERE user_id = $1 AND finalised_ts IS NULL
         ORDER BY delayed_since_ts + delay_ms, delay_id",
        &[&user_id],
        delayed_event,
    )
}

/// Returns when a user's scheduled events are to be sent, in Unix ms, the first one first.
pub fn due_times(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<u64>, DbError> {
    tx.query(
        "SELECT delayed_since_ts + delay_ms AS due FROM delayed_events
         WHERE user_id = $1 AND finalised_ts IS NULL ORDER BY due",
        &[&user_id],
        first,
    )
}

/// Returns the state that is to be set by scheduled events: rooms, types and state keys.
pub fn scheduled_states(tx: &mut Tx<'_>) -> Result<Vec<(RoomNid, String, String)>, DbError> {
    tx.query(
        "SELECT DISTINCT r.room_nid, d.event_type, d.state_key
         FROM delayed_events d JOIN rooms r ON r.room_id = d.room_id
         WHERE d.finalised_ts IS NULL AND d.state_key IS NOT NULL",
        &[],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

/// Whether events that set this state are scheduled for a room.
pub fn sets_state(tx: &mut Tx<'_>, room: RoomNid, event_type: &str, state_key: &str) -> Result<bool, DbError> {
    let found = tx.query_opt(
        "SELECT 1 FROM delayed_events d JOIN rooms r ON r.room_id = d.room_id
         WHERE r.room_nid = $1 AND d.finalised_ts IS NULL AND d.event_type = $2 AND d.state_key = $3 LIMIT 1",
        &[&room, &event_type, &state_key],
        first::<i64>,
    )?;
    Ok(found.is_some())
}

/// Returns the ids of the scheduled events of a room that would set this state, where another user has set it since.
pub fn overtaken(tx: &mut Tx<'_>, room: RoomNid, event_type: &str, state_key: &str) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT DISTINCT d.delay_id FROM delayed_events d
         JOIN rooms r ON r.room_id = d.room_id
         JOIN current_state_deltas c ON c.room_nid = r.room_nid AND c.position > d.scheduled_position
         JOIN events e ON e.event_nid = c.event_nid
         JOIN user_ids u ON u.user_nid = e.sender_nid
         WHERE r.room_nid = $1 AND d.finalised_ts IS NULL AND d.event_type = $2 AND d.state_key = $3
             AND u.user_id <> d.user_id
             AND c.type_nid = (SELECT type_nid FROM event_types WHERE event_type = $4)
             AND c.state_key_nid = (SELECT state_key_nid FROM state_keys WHERE state_key = $5)",
        &[&room, &event_type, &state_key, &event_type.as_bytes(), &state_key.as_bytes()],
        first,
    )
}

/// Whether another user has set the state that a delayed event would set, after it was scheduled.
pub fn is_overtaken(tx: &mut Tx<'_>, delay_id: &str, event_type: &str, state_key: &str) -> Result<bool, DbError> {
    let found = tx.query_opt(
        "SELECT 1 FROM delayed_events d
         JOIN rooms r ON r.room_id = d.room_id
         JOIN current_state_deltas c ON c.room_nid = r.room_nid AND c.position > d.scheduled_position
         JOIN events e ON e.event_nid = c.event_nid
         JOIN user_ids u ON u.user_nid = e.sender_nid
         WHERE d.delay_id = $1 AND u.user_id <> d.user_id
             AND c.type_nid = (SELECT type_nid FROM event_types WHERE event_type = $2)
             AND c.state_key_nid = (SELECT state_key_nid FROM state_keys WHERE state_key = $3)
         LIMIT 1",
        &[&delay_id, &event_type.as_bytes(), &state_key.as_bytes()],
        first::<i64>,
    )?;
    Ok(found.is_some())
}

/// Records that the delay of a scheduled event has begun again.
pub fn restart(tx: &mut Tx<'_>, delay_id: &str, now_ms: u64) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE delayed_events SET delayed_since_ts = $2 WHERE delay_id = $1 AND finalised_ts IS NULL",
        &[&delay_id, &now_ms],
    )?;
    Ok(())
}

/// Records how a scheduled event ended; without effect when it has ended already.
pub fn finalise(tx: &mut Tx<'_>, delay_id: &str, end: &Finalised) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE delayed_events SET finalised_ts = $2, event_id = $3, error = $4
         WHERE delay_id = $1 AND finalised_ts IS NULL",
        &[&delay_id, &end.finalised_ts, &end.event_id, &end.error],
    )?;
    Ok(())
}

/// Deletes the finalised events of a user beyond the newest `keep`.
pub fn keep_newest_finalised(tx: &mut Tx<'_>, user_id: &str, keep: u32) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM delayed_events WHERE delay_id IN (
             SELECT delay_id FROM delayed_events WHERE user_id = $1 AND finalised_ts IS NOT NULL
             ORDER BY finalised_ts DESC, delay_id LIMIT 1000 OFFSET $2)",
        &[&user_id, &keep],
    )?;
    Ok(())
}

/// Deletes at most `limit` events that were finalised before `before_ms` (Unix ms).
pub fn delete_finalised(tx: &mut Tx<'_>, before_ms: u64, limit: u32) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM delayed_events WHERE delay_id IN (
             SELECT delay_id FROM delayed_events WHERE finalised_ts < $1 ORDER BY finalised_ts LIMIT $2)",
        &[&before_ms, &limit],
    )?;
    Ok(())
}

/// Deletes all of a user's, with their tasks.
pub fn delete_all(tx: &mut Tx<'_>, user_id: &str) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM scheduled_tasks WHERE status = 'scheduled'
             AND task_id IN (SELECT delay_id FROM delayed_events WHERE user_id = $1)",
        &[&user_id],
    )?;
    tx.execute_later("DELETE FROM delayed_events WHERE user_id = $1", &[&user_id])?;
    Ok(())
}
