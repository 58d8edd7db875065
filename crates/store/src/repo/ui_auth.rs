//! User-interactive authentication sessions.

use crate::{DbError, Tx, first};

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    pub session_id: String,
    /// Unix ms.
    pub created_ts: u64,
    /// Method and path of the request being authorised.
    pub operation: String,
    /// Whom it is for; `None` for registration.
    pub user_id: Option<String>,
    /// The request body without `auth` and passwords, canonical JSON.
    pub params: String,
    /// The registration token a use of which is reserved for this session.
    pub registration_token: Option<String>,
    /// The user that was registered with it.
    pub registered_user_id: Option<String>,
    /// The stages completed so far.
    pub completed: Vec<String>,
}

/// Stores a new session without completed stages.
pub fn insert(tx: &mut Tx, session: &Session) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO ui_auth_sessions (session_id, created_ts, operation, user_id, params) VALUES ($1, $2, $3, $4, $5)",
        &[&session.session_id, &session.created_ts, &session.operation, &session.user_id, &session.params],
    )?;
    Ok(())
}

/// The session with this id, with its completed stages.
pub fn get(tx: &mut Tx, session_id: &str) -> Result<Option<Session>, DbError> {
    let completed =
        tx.query("SELECT stage FROM ui_auth_completed WHERE session_id = $1 ORDER BY stage", &[&session_id], first)?;
    let session = tx.query_opt(
        "SELECT session_id, created_ts, operation, user_id, params, registration_token, registered_user_id
         FROM ui_auth_sessions WHERE session_id = $1",
        &[&session_id],
        |row| {
            Ok(Session {
                session_id: row.get(0)?,
                created_ts: row.get(1)?,
                operation: row.get(2)?,
                user_id: row.get(3)?,
                params: row.get(4)?,
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
        &[&session_id, &stage],
    )?;
    Ok(())
}

/// Replaces the parameters a session is for.
pub fn set_params(tx: &mut Tx, session_id: &str, params: &str) -> Result<(), DbError> {
    tx.execute_later("UPDATE ui_auth_sessions SET params = $2 WHERE session_id = $1", &[&session_id, &params])?;
    Ok(())
}

/// Records the registration token a use of which is reserved for the session.
pub fn set_registration_token(tx: &mut Tx, session_id: &str, token: Option<&str>) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE ui_auth_sessions SET registration_token = $2 WHERE session_id = $1",
        &[&session_id, &token],
    )?;
    Ok(())
}

/// Records the user that was registered with the session.
pub fn set_registered(tx: &mut Tx, session_id: &str, user_id: &str) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE ui_auth_sessions SET registered_user_id = $2 WHERE session_id = $1",
        &[&session_id, &user_id],
    )?;
    Ok(())
}

/// Deletes one session.
pub fn delete(tx: &mut Tx, session_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM ui_auth_completed WHERE session_id = $1", &[&session_id])?;
    tx.execute_later("DELETE FROM ui_auth_sessions WHERE session_id = $1", &[&session_id])?;
    Ok(())
}

/// Deletes the oldest sessions that are for no user, completed nothing and reserve nothing, beyond the newest `keep`.
pub fn keep_newest_of_unknown(tx: &mut Tx, keep: u64) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM ui_auth_sessions WHERE user_id IS NULL AND registration_token IS NULL
         AND registered_user_id IS NULL AND created_ts < COALESCE(
             (SELECT created_ts FROM ui_auth_sessions WHERE user_id IS NULL ORDER BY created_ts DESC LIMIT 1 OFFSET $1), 0)
         AND NOT EXISTS (SELECT 1 FROM ui_auth_completed c WHERE c.session_id = ui_auth_sessions.session_id)",
        &[&keep],
    )?;
    Ok(())
}

/// Deletes the sessions created before `before` (Unix ms) and gives the registration token uses they had reserved back.
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
