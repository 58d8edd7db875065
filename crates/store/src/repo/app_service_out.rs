//! Transactions to application services, and their progress.

use super::to_device::TargetedMessage;
use crate::db::ToSql;
use crate::{DbError, EventNid, Position, RoomNid, Tx, first};

/// The last transaction of an application service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastTransaction {
    pub service_id: String,
    pub txn_id: String,
    pub upto: Position,
    pub body: Option<String>,
}

/// Where the delivery to application services stands.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Services without a cursor have everything up to here.
    pub position: Position,
    pub cursors: Vec<(String, Position)>,
    pub transactions: Vec<LastTransaction>,
}

/// An entry of the log that application services may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRow {
    /// An event of a room's timeline.
    Event { room: RoomNid },
    /// A membership in a room that this server is not in.
    Membership { room: RoomNid, event: EventNid },
    /// A message for a device.
    ToDevice { user: String, device: String },
    /// A change of a user's devices.
    DeviceList { user: String },
}

/// Reads the progress. Services that are not known yet begin at the present position; if no service is known, so does
/// everything.
pub fn begin(tx: &mut Tx<'_>, services: &[String]) -> Result<Progress, DbError> {
    let now: Position = tx.query_one("SELECT position FROM clock WHERE id = 1", &[], first)?;
    let known: Vec<String> = tx.query("SELECT service_id FROM app_service_transactions", &[], first)?;
    if !services.iter().any(|service| known.contains(service)) {
        tx.execute("UPDATE app_service_position SET position = $1 WHERE id = 1", &[&now])?;
    }
    for service in services.iter().filter(|service| !known.contains(service)) {
        tx.execute(
            "INSERT INTO app_service_transactions (service_id, txn_id, upto) VALUES ($1, '', $2)",
            &[service, &now],
        )?;
    }
    Ok(Progress {
        position: tx.query_one("SELECT position FROM app_service_position WHERE id = 1", &[], first)?,
        cursors: tx
            .query("SELECT service_id, position FROM app_service_cursors", &[], |row| Ok((row.get(0)?, row.get(1)?)))?,
        transactions: tx.query("SELECT service_id, txn_id, upto, body FROM app_service_transactions", &[], |row| {
            Ok(LastTransaction { service_id: row.get(0)?, txn_id: row.get(1)?, upto: row.get(2)?, body: row.get(3)? })
        })?,
    })
}

/// Stores the progress: `position` of the services without a cursor, `behind` of those with one; services in
/// `caught_up` lose theirs.
pub fn set_progress(
    tx: &mut Tx<'_>,
    position: Position,
    behind: &[(&str, Position)],
    caught_up: &[&str],
) -> Result<(), DbError> {
    tx.execute_later("UPDATE app_service_position SET position = $1 WHERE id = 1", &[&position])?;
    if !behind.is_empty() {
        tx.insert_many_later(
            "INSERT INTO app_service_cursors (service_id, position) VALUES ($1, $2)
             ON CONFLICT (service_id) DO UPDATE SET position = excluded.position",
            behind.iter().map(|(service, position)| [service.to_param(), position.to_param()]),
        )?;
    }
    if !caught_up.is_empty() {
        tx.insert_many_later(
            "DELETE FROM app_service_cursors WHERE service_id = $1",
            caught_up.iter().map(|service| [service.to_param()]),
        )?;
    }
    Ok(())
}

/// Stores a transaction that is about to be sent.
pub fn begin_transaction(
    tx: &mut Tx<'_>,
    service: &str,
    txn_id: &str,
    upto: Position,
    body: &str,
) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO app_service_transactions (service_id, txn_id, upto, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (service_id) DO UPDATE SET txn_id = excluded.txn_id, upto = excluded.upto, body = excluded.body",
        &[&service, &txn_id, &upto, &body],
    )?;
    Ok(())
}

/// Records that the service has accepted its last transaction, and deletes the messages for devices that it held.
pub fn end_transaction(tx: &mut Tx<'_>, service: &str, messages: &[TargetedMessage]) -> Result<(), DbError> {
    tx.execute_later("UPDATE app_service_transactions SET body = NULL WHERE service_id = $1", &[&service])?;
    if !messages.is_empty() {
        tx.insert_many_later(
            "DELETE FROM to_device_messages WHERE user_id = $1 AND device_id = $2 AND position = $3",
            messages.iter().map(|TargetedMessage { user, device, position }| {
                [user.to_param(), device.to_param(), position.to_param()]
            }),
        )?;
    }
    Ok(())
}

/// Returns the entries of the log with `after < position <= upto`, the oldest `limit` or somewhat more, oldest first.
/// Goes from room to room, and from user to user: for what has left memory.
pub fn log_between(
    tx: &mut Tx<'_>,
    after: Position,
    upto: Position,
    limit: u64,
) -> Result<Vec<(Position, LogRow)>, DbError> {
    let mut rows: Vec<(Position, LogRow)> = tx.query(
        "SELECT e.position, e.room_nid FROM rooms r JOIN events e
             ON e.room_nid = r.room_nid AND e.position > $1 AND e.position <= $2
         ORDER BY e.position LIMIT $3",
        &[&after, &upto, &limit],
        |row| Ok((row.get(0)?, LogRow::Event { room: row.get(1)? })),
    )?;
    rows.extend(tx.query(
        "SELECT m.position, m.room_nid, m.event_nid FROM users u
             JOIN user_ids i ON i.user_id = u.user_id
             JOIN memberships m ON m.user_nid = i.user_nid AND m.position > $1 AND m.position <= $2
             JOIN events e ON e.event_nid = m.event_nid
         WHERE e.position IS NULL ORDER BY m.position LIMIT $3",
        &[&after, &upto, &limit],
        |row| Ok((row.get(0)?, LogRow::Membership { room: row.get(1)?, event: row.get(2)? })),
    )?);
    rows.extend(tx.query(
        "SELECT position, user_id, device_id FROM to_device_messages WHERE position > $1 AND position <= $2
         ORDER BY position LIMIT $3",
        &[&after, &upto, &limit],
        |row| Ok((row.get(0)?, LogRow::ToDevice { user: row.get(1)?, device: row.get(2)? })),
    )?);
    rows.extend(tx.query(
        "SELECT position, user_id FROM device_list_changes WHERE position > $1 AND position <= $2
         ORDER BY position LIMIT $3",
        &[&after, &upto, &limit],
        |row| Ok((row.get(0)?, LogRow::DeviceList { user: row.get(1)? })),
    )?);
    rows.sort_by_key(|(position, _)| *position);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(rows)
}
