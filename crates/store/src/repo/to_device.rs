//! To-device messages waiting for their devices.

use plexus_protocol::id::UserId;

use crate::db::ToSql;
use crate::{Change, DbError, Later, Position, Tx, first};

/// A message for one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub position: Position,
    /// The event as the device receives it: `{"content":…,"sender":…,"type":…}`.
    pub message: String,
}

/// Records a client's transaction; changes no row when it is recorded already and nothing must be sent again.
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

/// Deletes transactions begun before `ts` (Unix ms).
pub fn forget_transactions(tx: &mut Tx<'_>, ts: u64) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM to_device_transactions WHERE ts < $1", &[&ts])?;
    Ok(())
}

/// Records a message of another server; returns `false` when it was received before and must be ignored.
pub fn receive(tx: &mut Tx<'_>, origin: &str, message_id: &str, now_ms: u64) -> Result<bool, DbError> {
    let inserted = tx.execute(
        "INSERT INTO received_to_device (origin, message_id, received_ts) VALUES ($1, $2, $3)
         ON CONFLICT (origin, message_id) DO NOTHING",
        &[&origin, &message_id.as_bytes(), &now_ms],
    )?;
    Ok(inserted == 1)
}

/// Deletes records of messages of other servers received before `ts` (Unix ms).
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

/// Names a message that waits for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetedMessage {
    pub user: String,
    pub device: String,
    pub position: Position,
}

/// Returns a message, as in [`Waiting`], if it still waits.
pub fn get(tx: &mut Tx<'_>, target: &TargetedMessage) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT message FROM to_device_messages WHERE user_id = $1 AND device_id = $2 AND position = $3",
        &[&target.user, &target.device, &target.position],
        first,
    )
}

/// Returns the positions of the messages for a device after `after` up to `upto`.
pub fn positions_between(
    tx: &mut Tx<'_>,
    user_id: &str,
    device_id: &str,
    after: Position,
    upto: Position,
) -> Result<Vec<Position>, DbError> {
    tx.query(
        "SELECT position FROM to_device_messages
         WHERE user_id = $1 AND device_id = $2 AND position > $3 AND position <= $4 ORDER BY position",
        &[&user_id, &device_id, &after, &upto],
        first,
    )
}

/// Limits of one read.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    pub messages: u64,
    pub bytes: u64,
}

/// Returns the oldest messages for a device after `since` and at or before `upto`, within `limits`, but at least one;
/// and whether there are more.
pub fn waiting(
    tx: &mut Tx<'_>,
    user_id: &str,
    device_id: &str,
    (since, upto): (Position, Position),
    limits: ReadLimits,
) -> Result<(Vec<Waiting>, bool), DbError> {
    let sizes: Vec<(Position, u64)> = tx.query(
        "SELECT position, CAST(OCTET_LENGTH(message) AS BIGINT) FROM to_device_messages
         WHERE user_id = $1 AND device_id = $2 AND position > $3 AND position <= $4 ORDER BY position LIMIT $5",
        &[&user_id, &device_id, &since, &upto, &limits.messages.saturating_add(1)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((upto, more)) = prefix_within(&sizes, limits.messages, limits.bytes) else {
        return Ok((Vec::new(), false));
    };
    let waiting = tx.query(
        "SELECT position, message FROM to_device_messages
         WHERE user_id = $1 AND device_id = $2 AND position > $3 AND position <= $4 ORDER BY position",
        &[&user_id, &device_id, &since, &upto],
        |row| Ok(Waiting { position: row.get(0)?, message: row.get(1)? }),
    )?;
    Ok((waiting, more))
}

/// For rows with position and size in bytes: returns the position of the last row among the first `limit` whose total
/// size is at most `max_bytes`, or of the first row; and whether more rows follow. `None` if there are no rows.
pub(super) fn prefix_within(sizes: &[(Position, u64)], limit: u64, max_bytes: u64) -> Option<(Position, bool)> {
    let mut total = 0_u64;
    let fits = |(at, (_, bytes)): &(usize, &(Position, u64))| {
        total = total.saturating_add(*bytes);
        *at == 0 || (*at as u64) < limit && total <= max_bytes
    };
    let (last, (position, _)) = sizes.iter().enumerate().take_while(fits).last()?;
    Some((*position, last + 1 < sizes.len()))
}

/// Returns the positions of the oldest and the newest message for a device.
pub fn span(tx: &mut Tx<'_>, user_id: &str, device_id: &str) -> Result<Option<(Position, Position)>, DbError> {
    let (oldest, newest): (Option<Position>, Option<Position>) = tx.query_one(
        "SELECT MIN(position), MAX(position) FROM to_device_messages WHERE user_id = $1 AND device_id = $2",
        &[&user_id, &device_id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(oldest.zip(newest))
}

/// Deletes the messages that a device has acknowledged: those at or before `upto`.
pub fn acknowledge(tx: &mut Tx<'_>, user_id: &str, device_id: &str, upto: Position) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM to_device_messages WHERE user_id = $1 AND device_id = $2 AND position <= $3",
        &[&user_id, &device_id, &upto],
    )
}

/// Deletes all messages of a deleted device.
pub fn delete_device(tx: &mut Tx<'_>, user_id: &str, device_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM to_device_messages WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    tx.execute_later(
        "DELETE FROM to_device_transactions WHERE user_id = $1 AND device_id = $2",
        &[&user_id, &device_id],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_at_once_has_a_bound_and_is_never_nothing() {
        let sizes = [(3, 100), (5, 100), (7, 900), (9, 1)];
        assert_eq!(prefix_within(&sizes, 10, 10_000), Some((9, false)));
        assert_eq!(prefix_within(&sizes, 3, 10_000), Some((7, true)));
        assert_eq!(prefix_within(&sizes, 10, 200), Some((5, true)));
        assert_eq!(prefix_within(&sizes, 10, 1), Some((3, true)));
        assert_eq!(prefix_within(&sizes[..1], 10, 1), Some((3, false)));
        assert_eq!(prefix_within(&[], 10, 1), None);
    }
}
