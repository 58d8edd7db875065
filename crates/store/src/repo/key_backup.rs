//! Server-side backup of room keys.

use crate::{DbError, Row, Tx, first};

/// A backup version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    pub version: i64,
    pub algorithm: String,
    /// JSON object.
    pub auth_data: String,
    pub etag: i64,
    pub key_count: u64,
}

fn backup(row: &Row<'_>) -> Result<Backup, DbError> {
    Ok(Backup {
        version: row.get(0)?,
        algorithm: row.get(1)?,
        auth_data: row.get(2)?,
        etag: row.get(3)?,
        key_count: row.get(4)?,
    })
}

/// Returns the newest backup of a user that was not deleted.
pub fn latest(tx: &mut Tx, user_id: &str) -> Result<Option<Backup>, DbError> {
    tx.query_opt(
        "SELECT version, algorithm, auth_data, etag, key_count FROM key_backups
         WHERE user_id = $1 AND deleted = 0 ORDER BY version DESC LIMIT 1",
        &[&user_id],
        backup,
    )
}

/// Returns one version unless it was deleted.
pub fn get(tx: &mut Tx, user_id: &str, version: i64) -> Result<Option<Backup>, DbError> {
    tx.query_opt(
        "SELECT version, algorithm, auth_data, etag, key_count FROM key_backups
         WHERE user_id = $1 AND version = $2 AND deleted = 0",
        &[&user_id, &version],
        backup,
    )
}

/// Returns how many versions a user has.
pub fn count(tx: &mut Tx, user_id: &str) -> Result<u64, DbError> {
    tx.query_one("SELECT COUNT(*) FROM key_backups WHERE user_id = $1 AND deleted = 0", &[&user_id], first)
}

/// Creates the next version and returns its number. Numbers of deleted versions are not used again.
pub fn create(tx: &mut Tx, user_id: &str, algorithm: &str, auth_data: &str) -> Result<i64, DbError> {
    tx.query_one(
        "INSERT INTO key_backups (user_id, version, algorithm, auth_data)
         SELECT $1, COALESCE(MAX(version), 0) + 1, $2, $3 FROM key_backups WHERE user_id = $1
         RETURNING version",
        &[&user_id, &algorithm, &auth_data],
        first,
    )
}

/// Replaces a version's authentication data.
pub fn set_auth_data(tx: &mut Tx, user_id: &str, version: i64, auth_data: &str) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE key_backups SET auth_data = $3 WHERE user_id = $1 AND version = $2",
        &[&user_id, &version, &auth_data],
    )?;
    Ok(())
}

/// Deletes a version and its keys. Returns `false` when there is none.
pub fn delete(tx: &mut Tx, user_id: &str, version: i64) -> Result<bool, DbError> {
    let deleted = tx.execute(
        "UPDATE key_backups SET deleted = 1, key_count = 0 WHERE user_id = $1 AND version = $2 AND deleted = 0",
        &[&user_id, &version],
    )?;
    tx.execute_later("DELETE FROM key_backup_sessions WHERE user_id = $1 AND version = $2", &[&user_id, &version])?;
    // Only the last number has to be remembered.
    tx.execute_later(
        "DELETE FROM key_backups WHERE user_id = $1 AND deleted = 1
         AND version < (SELECT MAX(version) FROM key_backups WHERE user_id = $1)",
        &[&user_id],
    )?;
    Ok(deleted == 1)
}

/// Deletes every backup of a user.
pub fn delete_all(tx: &mut Tx, user_id: &str) -> Result<(), DbError> {
    tx.execute_later("UPDATE key_backups SET deleted = 1, key_count = 0 WHERE user_id = $1", &[&user_id])?;
    tx.execute_later("DELETE FROM key_backup_sessions WHERE user_id = $1", &[&user_id])?;
    Ok(())
}

/// The backed-up key of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub room_id: String,
    pub session_id: String,
    pub first_message_index: u64,
    pub forwarded_count: u64,
    pub is_verified: bool,
    /// Encrypted by the client: a JSON object.
    pub session_data: String,
}

/// Selects sessions of a backup.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Every session.
    All,
    /// The sessions of a room.
    Room(&'a str),
    /// One session: room id and session id.
    Session(&'a str, &'a str),
}

fn session(row: &Row<'_>) -> Result<Session, DbError> {
    Ok(Session {
        room_id: row.get(0)?,
        session_id: row.get(1)?,
        first_message_index: row.get(2)?,
        forwarded_count: row.get(3)?,
        is_verified: row.get(4)?,
        session_data: row.get(5)?,
    })
}

/// Returns the stored sessions within `scope`.
pub fn sessions(tx: &mut Tx, user_id: &str, version: i64, scope: Scope) -> Result<Vec<Session>, DbError> {
    match scope {
        Scope::All => tx.query(
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
             FROM key_backup_sessions WHERE user_id = $1 AND version = $2",
            &[&user_id, &version],
            session,
        ),
        Scope::Room(room_id) => tx.query(
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
             FROM key_backup_sessions WHERE user_id = $1 AND version = $2 AND room_id = $3",
            &[&user_id, &version, &room_id],
            session,
        ),
        Scope::Session(room_id, session_id) => tx.query(
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
             FROM key_backup_sessions WHERE user_id = $1 AND version = $2 AND room_id = $3 AND session_id = $4",
            &[&user_id, &version, &room_id, &session_id],
            session,
        ),
    }
}

/// Stores a session, replacing the previous one.
pub fn put_session(tx: &mut Tx, user_id: &str, version: i64, session: &Session) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO key_backup_sessions
         (user_id, version, room_id, session_id, first_message_index, forwarded_count, is_verified, session_data)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (user_id, version, room_id, session_id) DO UPDATE SET
         first_message_index = excluded.first_message_index, forwarded_count = excluded.forwarded_count,
         is_verified = excluded.is_verified, session_data = excluded.session_data",
        &[
            &user_id,
            &version,
            &session.room_id,
            &session.session_id,
            &session.first_message_index,
            &session.forwarded_count,
            &session.is_verified,
            &session.session_data,
        ],
    )?;
    Ok(())
}

/// Deletes the sessions within `scope`; returns their number.
pub fn delete_sessions(tx: &mut Tx, user_id: &str, version: i64, scope: Scope) -> Result<u64, DbError> {
    match scope {
        Scope::All => {
            tx.execute("DELETE FROM key_backup_sessions WHERE user_id = $1 AND version = $2", &[&user_id, &version])
        }
        Scope::Room(room_id) => tx.execute(
            "DELETE FROM key_backup_sessions WHERE user_id = $1 AND version = $2 AND room_id = $3",
            &[&user_id, &version, &room_id],
        ),
        Scope::Session(room_id, session_id) => tx.execute(
            "DELETE FROM key_backup_sessions WHERE user_id = $1 AND version = $2 AND room_id = $3 AND session_id = $4",
            &[&user_id, &version, &room_id, &session_id],
        ),
    }
}

/// Records a change of a version's keys: increments the etag, and changes the number of keys by `added`. Returns the
/// new etag and number.
pub fn changed(tx: &mut Tx, user_id: &str, version: i64, added: i64) -> Result<(i64, u64), DbError> {
    tx.query_one(
        "UPDATE key_backups SET etag = etag + 1, key_count = key_count + $3 WHERE user_id = $1 AND version = $2
         RETURNING etag, key_count",
        &[&user_id, &version, &added],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
