//! Users' changes to their push rules, as JSON; their meaning is defined elsewhere.

use plexus_protocol::id::UserId;

use crate::{Change, DbError, Position, Tx};

/// Returns the stored changes of a user and the position at which they were written.
pub fn get(tx: &mut Tx<'_>, user_id: &str) -> Result<Option<(String, Position)>, DbError> {
    tx.query_opt("SELECT changes, position FROM push_rules WHERE user_id = $1", &[&user_id], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Replaces the stored changes; announced as account data, because clients see them as `m.push_rules`.
pub fn set(tx: &mut Tx<'_>, user: &UserId, changes: &str) -> Result<Position, DbError> {
    let position = tx.next_position()?;
    tx.execute_later(
        "INSERT INTO push_rules (user_id, changes, position) VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE SET changes = excluded.changes, position = excluded.position",
        &[&user.as_str(), &changes, &position],
    )?;
    tx.announce(Change::AccountData { user: user.clone(), room: None, position });
    Ok(position)
}
