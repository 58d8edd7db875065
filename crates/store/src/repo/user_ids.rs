//! User ids by number.

use plexus_protocol::id::UserId;

use crate::db::Any;
use crate::{DbError, Tx, UserNid};

/// The number of a user id, given one if it has none yet.
pub fn nid(tx: &mut Tx<'_>, user: &UserId) -> Result<UserNid, DbError> {
    match find(tx, user.as_str())? {
        Some(nid) => Ok(nid),
        None => {
            tx.query_one("INSERT INTO user_ids (user_id) VALUES ($1) RETURNING user_nid", &[&user.as_str()], |row| {
                row.get(0)
            })
        }
    }
}

/// The number of a user id; `None` for one never seen in a room.
pub fn find(tx: &mut Tx<'_>, user: &str) -> Result<Option<UserNid>, DbError> {
    tx.query_opt("SELECT user_nid FROM user_ids WHERE user_id = $1", &[&user], |row| row.get(0))
}

/// The user ids of numbers.
pub fn texts(tx: &mut Tx<'_>, nids: &[UserNid]) -> Result<Vec<(UserNid, String)>, DbError> {
    tx.query("SELECT user_nid, user_id FROM user_ids WHERE user_nid = ANY($1)", &[&Any(nids)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}
