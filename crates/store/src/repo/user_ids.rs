//! The numbers of user ids.

use std::collections::HashSet;

use plexus_protocol::id::UserId;

use crate::db::{Any, ToSql};
use crate::{DbError, Row, Tx, UserNid};

/// Returns the number of a user id, which is assigned if it has none yet.
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

/// Returns the numbers of distinct user ids; missing ones are assigned.
pub fn nids(tx: &mut Tx<'_>, users: &[&str]) -> Result<Vec<(String, UserNid)>, DbError> {
    let map = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: Vec<(String, UserNid)> =
        tx.query("SELECT user_id, user_nid FROM user_ids WHERE user_id = ANY($1)", &[&Any(users)], map)?;
    let known: HashSet<&str> = found.iter().map(|(user, _)| user.as_str()).collect();
    let new: Vec<&str> = users.iter().copied().filter(|user| !known.contains(user)).collect();
    if !new.is_empty() {
        found.extend(tx.insert_many_returning(
            "INSERT INTO user_ids (user_id) VALUES ($1) RETURNING user_id, user_nid",
            new.iter().map(|user| [user.to_param()]),
            map,
        )?);
    }
    Ok(found)
}

/// Returns the number of a user id; `None` for a user that was never seen in a room.
pub fn find(tx: &mut Tx<'_>, user: &str) -> Result<Option<UserNid>, DbError> {
    tx.query_opt("SELECT user_nid FROM user_ids WHERE user_id = $1", &[&user], |row| row.get(0))
}

/// Returns the user ids with these numbers.
pub fn texts(tx: &mut Tx<'_>, nids: &[UserNid]) -> Result<Vec<(UserNid, String)>, DbError> {
    tx.query("SELECT user_nid, user_id FROM user_ids WHERE user_nid = ANY($1)", &[&Any(nids)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}
