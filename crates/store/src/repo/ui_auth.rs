//! User-interactive authentication sessions. They are stored under digests of their ids: an id may contain a request's
//! body, and then exceeds PostgreSQL's limit for keys.

use sha2::{Digest as _, Sha256};

use crate::{DbError, Tx, first};

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    pub session_id: String,
    /// Unix ms.
    pub created_ts: u64,
    /// Method and path of the request to authorise.
    pub operation: String,
    /// The user to authenticate; `None` for registration.
    pub user_id: Option<String>,
    /// The request body without `auth` and passwords, canonical JSON; for registration only its hash.
    pub params: String,
    /// The passwords of the request body, sealed by the process that received them; for registration the whole body,
    /// unless the id contains it.
    pub sealed: Option<String>,
    /// The registration token of which a use is reserved for this session.
    pub registration_token: Option<String>,
    /// The user that was registered in this session.
    pub registered_user_id: Option<String>,
    /// The completed stages.
    pub completed: Vec<String>,
}

/// Returns the key under which a session is stored.
fn key(session_id: &str) -> String {
    Sha256::digest(session_id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Stores a session with its completed stages, unless it is stored already.
pub fn insert(tx: &mut Tx, session: &Session) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO ui_auth_sessions (session_id, created_ts, operation, user_id, params, sealed)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (session_id) DO NOTHING",
        &[
            &key(&session.session_id),
            &session.created_ts,
            &session.operation,
            &session.user_id,
            &session.params,
            &session.sealed,
        ],
    )?;
    for stage in &session.completed {
        complete_stage(tx, &session.session_id, stage)?;
    }
    Ok(())
}

/// Deletes a session and returns it, so that only one of several requests gets it.
pub fn take(tx: &mut Tx, session_id: &str) -> Result<Option<Session>, DbError> {
    let session = get(tx, session_id)?;
    if session.is_some() {
        delete(tx, session_id)?;
    }
    Ok(session)
}

/// Returns the session with this id, with its completed stages.
pub fn get(tx: &mut Tx, session_id: &str) -> Result<Option<Session>, DbError> {
    let key = key(session_id);
    let completed =
        tx.query("SELECT stage FROM ui_auth_completed WHERE session_id = $1 ORDER BY stage", &[&key], first)?;
    let session = tx.query_opt(
        "SELECT created_ts, operation, user_id, params, sealed, registration_token, registered_user_id
         FROM ui_auth_sessions WHERE session_id = $1",
        &[&key],
        |row| {
            Ok(Session {
                session_id: session_id.to_owned(),
                created_ts: row.get(0)?,
                operation: row.get(1)?,
                user_id: row.get(2)?,
                params: row.get(3)?,
                sealed: row.get(4)?,
                registration_token: row.get(5)?,
                registered_user_id: row.get(6)?,
                completed: Vec::new(),
            })
        },
    )?;
    Ok(session.map(|session| Session { completed, ..session }))
}

/// Records a completed stage.
pub fn complete_stage(tx: &mut Tx, session_id: &str, stage: &str) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO ui_auth_completed (session_id, stage) VALUES ($1, $2) ON CONFLICT (session_id, stage) DO NOTHING",
        &[&key(session_id), &stage],
    )?;
    Ok(())
}

/// Replaces the parameters of a session.
pub fn set_params(tx: &mut Tx, session_id: &str, params: &str, sealed: Option<&str>) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE ui_auth_sessions SET params = $2, sealed = $3 WHERE session_id = $1",
        &[&key(session_id), &params, &sealed],
    )?;
    Ok(())
}

/// Records the registration token of which a use is reserved for the session.
pub fn set_registration_token(tx: &mut Tx, session_id: &str, token: Option<&str>) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE ui_auth_sessions SET registration_token = $2 WHERE session_id = $1",
        &[&key(session_id), &token],
    )?;
    Ok(())
}

/// Records the user that was registered in the session, which may not be stored yet. Returns `false`, and stores
/// nothing, when the session was used to register before.
pub fn set_registered(tx: &mut Tx, session: &Session, user_id: &str) -> Result<bool, DbError> {
    let stored = tx.execute(
        "INSERT INTO ui_auth_sessions (session_id, created_ts, operation, user_id, params, registered_user_id)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (session_id) DO UPDATE SET registered_user_id = excluded.registered_user_id,
             params = excluded.params
         WHERE ui_auth_sessions.registered_user_id IS NULL",
        &[
            &key(&session.session_id),
            &session.created_ts,
            &session.operation,
            &session.user_id,
            &session.params,
            &user_id,
        ],
    )?;
    Ok(stored == 1)
}

/// Deletes one session.
pub fn delete(tx: &mut Tx, session_id: &str) -> Result<(), DbError> {
    delete_key(tx, &key(session_id))
}

fn delete_key(tx: &mut Tx, key: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM ui_auth_completed WHERE session_id = $1", &[&key])?;
    tx.execute_later("DELETE FROM ui_auth_sessions WHERE session_id = $1", &[&key])?;
    Ok(())
}

/// Deletes the oldest sessions of a user, beyond the newest `keep`.
pub fn keep_newest_of_user(tx: &mut Tx, user_id: &str, keep: u64) -> Result<(), DbError> {
    let older: Vec<String> = tx.query(
        "SELECT session_id FROM ui_auth_sessions WHERE user_id = $1 ORDER BY created_ts DESC, session_id
         LIMIT 1000 OFFSET $2",
        &[&user_id, &keep],
        first,
    )?;
    for key in older {
        delete_key(tx, &key)?;
    }
    Ok(())
}

/// Deletes the sessions created before `before` (Unix ms) and releases the registration token uses they had reserved.
pub fn delete_before(tx: &mut Tx, before: u64) -> Result<(), DbError> {
    let reserved: Vec<String> = tx.query(
        "SELECT registration_token FROM ui_auth_sessions WHERE created_ts < $1 AND registration_token IS NOT NULL",
        &[&before],
        first,
    )?;
    for token in reserved {
        super::registration_tokens::release_pending(tx, &token)?;
    }
    tx.execute_later(
        "DELETE FROM ui_auth_completed WHERE session_id IN
         (SELECT session_id FROM ui_auth_sessions WHERE created_ts < $1)",
        &[&before],
    )?;
    tx.execute_later("DELETE FROM ui_auth_sessions WHERE created_ts < $1", &[&before])?;
    Ok(())
}
