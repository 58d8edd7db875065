//! Registration tokens, which `m.login.registration_token` accepts.

use crate::{DbError, Row, Tx};

/// A registration token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationToken {
    pub token: String,
    /// `None`: unlimited.
    pub uses_allowed: Option<u64>,
    /// Registrations under way with the token.
    pub pending: u64,
    /// Completed registrations with the token.
    pub completed: u64,
    /// Unix ms; `None` never expires.
    pub expiry_ts: Option<u64>,
}

impl RegistrationToken {
    /// Whether another registration may use it at `now` (Unix ms).
    #[must_use]
    pub fn is_valid(&self, now: u64) -> bool {
        self.uses_allowed.is_none_or(|allowed| self.pending + self.completed < allowed)
            && self.expiry_ts.is_none_or(|expiry| now < expiry)
    }
}

fn registration_token(row: &Row<'_>) -> Result<RegistrationToken, DbError> {
    Ok(RegistrationToken {
        token: row.get(0)?,
        uses_allowed: row.get(1)?,
        pending: row.get(2)?,
        completed: row.get(3)?,
        expiry_ts: row.get(4)?,
    })
}

/// Returns one token.
pub fn get(tx: &mut Tx, token: &str) -> Result<Option<RegistrationToken>, DbError> {
    tx.query_opt(
        "SELECT token, uses_allowed, pending, completed, expiry_ts FROM registration_tokens WHERE token = $1",
        &[&token],
        registration_token,
    )
}

/// Returns all tokens, by name.
pub fn list(tx: &mut Tx) -> Result<Vec<RegistrationToken>, DbError> {
    tx.query(
        "SELECT token, uses_allowed, pending, completed, expiry_ts FROM registration_tokens ORDER BY token",
        &[],
        registration_token,
    )
}

/// Stores a new token. Returns `false` when it exists already.
pub fn insert(tx: &mut Tx, token: &RegistrationToken) -> Result<bool, DbError> {
    let stored = tx.execute(
        "INSERT INTO registration_tokens (token, uses_allowed, pending, completed, expiry_ts)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (token) DO NOTHING",
        &[&token.token, &token.uses_allowed, &token.pending, &token.completed, &token.expiry_ts],
    )?;
    Ok(stored == 1)
}

/// Replaces a token's limits. Returns `false` when there is no such token.
pub fn update(tx: &mut Tx, token: &str, uses_allowed: Option<u64>, expiry_ts: Option<u64>) -> Result<bool, DbError> {
    let updated = tx.execute(
        "UPDATE registration_tokens SET uses_allowed = $2, expiry_ts = $3 WHERE token = $1",
        &[&token, &uses_allowed, &expiry_ts],
    )?;
    Ok(updated == 1)
}

/// Deletes a token. Returns `false` when there is no such token.
pub fn delete(tx: &mut Tx, token: &str) -> Result<bool, DbError> {
    Ok(tx.execute("DELETE FROM registration_tokens WHERE token = $1", &[&token])? == 1)
}

/// Reserves one use for a registration under way.
pub fn add_pending(tx: &mut Tx, token: &str) -> Result<(), DbError> {
    tx.execute_later("UPDATE registration_tokens SET pending = pending + 1 WHERE token = $1", &[&token])?;
    Ok(())
}

/// Releases a reserved use.
pub fn release_pending(tx: &mut Tx, token: &str) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE registration_tokens SET pending = pending - 1 WHERE token = $1 AND pending > 0",
        &[&token],
    )?;
    Ok(())
}

/// Turns a reserved use into a completed one.
pub fn complete(tx: &mut Tx, token: &str) -> Result<(), DbError> {
    release_pending(tx, token)?;
    tx.execute_later("UPDATE registration_tokens SET completed = completed + 1 WHERE token = $1", &[&token])?;
    Ok(())
}
