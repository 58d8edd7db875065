//! Mail that waits to be sent.

use crate::{DbError, Tx, first};

/// A mail that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMail {
    pub mail_id: String,
    pub sender: String,
    pub recipient: String,
    pub message: Vec<u8>,
    pub created_ms: u64,
    pub expires_ms: u64,
}

/// Stores a mail.
pub fn insert(tx: &mut Tx<'_>, mail: &QueuedMail) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO mail_queue (mail_id, sender, recipient, message, created_ms, expires_ms)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[&mail.mail_id, &mail.sender, &mail.recipient, &mail.message, &mail.created_ms, &mail.expires_ms],
    )?;
    Ok(())
}

/// Returns a mail.
pub fn get(tx: &mut Tx<'_>, mail_id: &str) -> Result<Option<QueuedMail>, DbError> {
    tx.query_opt(
        "SELECT mail_id, sender, recipient, message, created_ms, expires_ms FROM mail_queue WHERE mail_id = $1",
        &[&mail_id],
        |row| {
            Ok(QueuedMail {
                mail_id: row.get(0)?,
                sender: row.get(1)?,
                recipient: row.get(2)?,
                message: row.get(3)?,
                created_ms: row.get(4)?,
                expires_ms: row.get(5)?,
            })
        },
    )
}

/// Returns how many mails wait.
pub fn count(tx: &mut Tx<'_>) -> Result<u64, DbError> {
    tx.query_one("SELECT COUNT(*) FROM mail_queue", &[], first)
}

/// Deletes a mail.
pub fn delete(tx: &mut Tx<'_>, mail_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM mail_queue WHERE mail_id = $1", &[&mail_id])?;
    Ok(())
}
