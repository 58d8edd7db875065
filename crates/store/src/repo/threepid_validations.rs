//! Addresses that are being validated.

use crate::{DbError, Row, Tx};

/// An address that is being validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreepidValidation {
    pub session_id: String,
    pub medium: String,
    pub address: String,
    pub client_secret: String,
    pub send_attempt: u64,
    pub token: String,
    pub token_expires_ms: u64,
    pub next_link: Option<String>,
    pub created_ms: u64,
    pub validated_ms: Option<u64>,
}

fn read(row: &Row<'_>) -> Result<ThreepidValidation, DbError> {
    Ok(ThreepidValidation {
        session_id: row.get(0)?,
        medium: row.get(1)?,
        address: row.get(2)?,
        client_secret: row.get(3)?,
        send_attempt: row.get(4)?,
        token: row.get(5)?,
        token_expires_ms: row.get(6)?,
        next_link: row.get(7)?,
        created_ms: row.get(8)?,
        validated_ms: row.get(9)?,
    })
}

/// Returns a session.
pub fn get(tx: &mut Tx<'_>, session_id: &str) -> Result<Option<ThreepidValidation>, DbError> {
    tx.query_opt(
        "SELECT session_id, medium, address, client_secret, send_attempt, token, token_expires_ms, next_link,
         created_ms, validated_ms FROM threepid_validations WHERE session_id = $1",
        &[&session_id],
        read,
    )
}

/// Returns the newest session of a client for an address that is not validated yet, if it was begun after a time.
pub fn find(
    tx: &mut Tx<'_>,
    medium: &str,
    address: &str,
    client_secret: &str,
    after_ms: u64,
) -> Result<Option<ThreepidValidation>, DbError> {
    tx.query_opt(
        "SELECT session_id, medium, address, client_secret, send_attempt, token, token_expires_ms, next_link,
         created_ms, validated_ms FROM threepid_validations
         WHERE medium = $1 AND address = $2 AND client_secret = $3 AND validated_ms IS NULL AND created_ms > $4
         ORDER BY created_ms DESC LIMIT 1",
        &[&medium, &address, &client_secret, &after_ms],
        read,
    )
}

/// Stores a session, or that another mail of it was sent.
pub fn set(tx: &mut Tx<'_>, session: &ThreepidValidation) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO threepid_validations (session_id, medium, address, client_secret, send_attempt, token,
         token_expires_ms, next_link, created_ms, validated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (session_id) DO UPDATE SET send_attempt = excluded.send_attempt,
         token_expires_ms = excluded.token_expires_ms, next_link = excluded.next_link,
         validated_ms = excluded.validated_ms",
        &[
            &session.session_id,
            &session.medium,
            &session.address,
            &session.client_secret,
            &session.send_attempt,
            &session.token,
            &session.token_expires_ms,
            &session.next_link,
            &session.created_ms,
            &session.validated_ms,
        ],
    )?;
    Ok(())
}

/// Deletes a session.
pub fn delete(tx: &mut Tx<'_>, session_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM threepid_validations WHERE session_id = $1", &[&session_id])?;
    Ok(())
}

/// Deletes the sessions that were begun at or before a time.
pub fn delete_until(tx: &mut Tx<'_>, until_ms: u64) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM threepid_validations WHERE created_ms <= $1", &[&until_ms])?;
    Ok(())
}
