//! Messages waiting for devices.

use plexus_protocol::id::UserId;

use crate::db::ToSql;
use crate::{Change, DbError, Later, Position, Tx};

/// A message for one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub position: Position,
    /// The event as the device gets it: `{"content":…,"sender":…,"type":…}`.
    pub message: String,
}

/// Remembers a client's transaction; no row is changed when it was there before, and nothing must be sent again.
pub fn begin_transaction(
    tx: &mut Tx<'_>,
    (user_id, device_id): (&str, &str),
    event_type: &str,
    txn_id: &str,
    now_ms: u64,
) -> Result<Later, DbError> {
    tx.execute_later(
        "INSERT INTO to_device_transactions (user_id, device_id, event_type, txn_id, ts) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (user_id, device_id, event_type, txn_id) DO NOTHING",
        &[&user_id, &device_id, &event_type, &txn_id, &now_ms],
    )
}

/// Forgets transactions begun before `ts` (Unix ms).
pub fn forget_transactions(tx: &mut Tx<'_>, ts: u64) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM to_device_transactions WHERE ts < $1", &[&ts])?;
    Ok(())
}

/// Takes note of a message of another server; false when it has come before, and must not be taken in again.
pub fn receive(tx: &mut Tx<'_>, origin: &str, message_id: &str, now_ms: u64) -> Result<bool, DbError> {
    let inserted = tx.execute(
        "INSERT INTO received_to_device (origin, message_id, received_ts) VALUES ($1, $2, $3)
         ON CONFLICT (origin, message_id) DO NOTHING",
        &[&origin, &message_id.as_bytes(), &now_ms],
    )?;
    Ok(inserted == 1)
}

/// Forgets messages of other servers that came before `ts` (Unix ms).
pub fn forget_received(tx: &mut Tx<'_>, ts: u64) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM received_to_device WHERE received_ts < $1", &[&ts])?;
    Ok(())
}

/// A message to be queued.
#[derive(Debug)]
pub struct NewMessage {
    pub user: UserId,
    pub device_id: String,
    /// As in [`Waiting`].
    pub message: String,
}

/// Queues messages and announces them.
pub fn add(tx: &mut Tx<'_>, messages: &[NewMessage]) -> Result<(), DbError> {
    let mut positions = Vec::with_capacity(messages.len());
    for NewMessage { user, device_id, .. } in messages {
        let position = tx.next_position()?;
        tx.announce(Change::ToDevice { user: user.clone(), device: device_id.clone(), position });
        positions.push(position);
    }
    tx.insert_many_later(
        "INSERT INTO to_device_messages (user_id, device_id, position, message) VALUES ($1, $2, $3, $4)",
        messages.iter().zip(&positions).map(|(new, position)| {
            let NewMessage { user, device_id, message } = new;
            [user.as_str().to_param(), device_id.to_param(), position.to_param(), message.to_param()]
        }),
    )?;
    Ok(())
}

/// The oldest messages for a device after `since` and at or before `upto`.
pub fn waiting(
    tx: &mut Tx<'_>,
    user_id: &str,
    device_id: &str,
    (since, upto): (Position, Position),
    limit: i64,
) -> Result<Vec<Waiting>, DbError> {
    tx.query(
        "SELECT position, message FROM to_device_messages
         WHERE user_id = $1 AND device_id = $2 AND position > $3 AND position <= $4 ORDER BY position LIMIT $5",
        &[&user_id, &device_id, &since, &upto, &limit],
        |row| Ok(Waiting { position: row.get(0)?, message: row.get(1)? }),
    )
}

/// The positions of the oldest and the newest message for a device.
pub fn span(tx: &mut Tx<'_>, user_id: &str, device_id: &str) -> Result<Option<(Position, Position)>, DbError> {
    let (oldest, newest): (Option<Position>, Option<Position>) = tx.query_one(
        "SELECT MIN(position), MAX(position) FROM to_device_messages WHERE user_id = $1 AND device_id = $2",
        &[&user_id, &device_id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(oldest.zip(newest))
}

/// Deletes what a device has acknowledged: everything at or before `upto`.
pub fn acknowledge(tx: &mut Tx<'_>, user_id: &str, device_id: &str, upto: Position) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM to_device_messages WHERE user_id = $1 AND device_id = $2 AND position <= $3",
        &[&user_id, &device_id, &upto],
    )
}

/// Deletes everything of a device that is gone.
pub fn delete_device(tx: &mut Tx<'_>, user_id: &str, device_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM to_device_messages WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    tx.execute_later(
        "DELETE FROM to_device_transactions WHERE user_id = $1 AND device_id = $2",
        &[&user_id, &device_id],
    )?;
    Ok(())
}
