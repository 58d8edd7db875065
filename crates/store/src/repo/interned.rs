//! The numbers of event types and state keys. Stored as bytes: other servers may use U+0000 in them.

use std::collections::HashSet;

use crate::db::{Any, ToSql};
use crate::{DbError, Row, StateKeyNid, Tx, TypeNid};

/// Returns the number of an event type, which is assigned if it has none yet.
pub fn type_nid(tx: &mut Tx<'_>, event_type: &str) -> Result<TypeNid, DbError> {
    match find_type(tx, event_type)? {
        Some(nid) => Ok(nid),
        None => tx.query_one(
            "INSERT INTO event_types (event_type) VALUES ($1) RETURNING type_nid",
            &[&event_type.as_bytes()],
            |row| row.get(0),
        ),
    }
}

/// Returns the number of an event type; `None` for an unknown one.
pub fn find_type(tx: &mut Tx<'_>, event_type: &str) -> Result<Option<TypeNid>, DbError> {
    tx.query_opt("SELECT type_nid FROM event_types WHERE event_type = $1", &[&event_type.as_bytes()], |row| row.get(0))
}

/// Returns the number of a state key, which is assigned if it has none yet.
pub fn state_key_nid(tx: &mut Tx<'_>, state_key: &str) -> Result<StateKeyNid, DbError> {
    match find_state_key(tx, state_key)? {
        Some(nid) => Ok(nid),
        None => tx.query_one(
            "INSERT INTO state_keys (state_key) VALUES ($1) RETURNING state_key_nid",
            &[&state_key.as_bytes()],
            |row| row.get(0),
        ),
    }
}

/// Returns the numbers of distinct state keys; missing ones are assigned.
pub fn state_key_nids(tx: &mut Tx<'_>, state_keys: &[&str]) -> Result<Vec<(String, StateKeyNid)>, DbError> {
    let map = |row: &Row<'_>| Ok((row.get_with(0, String::from_utf8)?, row.get(1)?));
    if state_keys.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<Vec<u8>> = state_keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    let mut found: Vec<(String, StateKeyNid)> =
        tx.query("SELECT state_key, state_key_nid FROM state_keys WHERE state_key = ANY($1)", &[&Any(&keys)], map)?;
    let known: HashSet<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    let new: Vec<&[u8]> = state_keys.iter().filter(|key| !known.contains(*key)).map(|key| key.as_bytes()).collect();
    if !new.is_empty() {
        found.extend(tx.insert_many_returning(
            "INSERT INTO state_keys (state_key) VALUES ($1) RETURNING state_key, state_key_nid",
            new.iter().map(|key| [key.to_param()]),
            map,
        )?);
    }
    Ok(found)
}

/// Returns the number of a state key; `None` for an unknown one.
pub fn find_state_key(tx: &mut Tx<'_>, state_key: &str) -> Result<Option<StateKeyNid>, DbError> {
    tx.query_opt("SELECT state_key_nid FROM state_keys WHERE state_key = $1", &[&state_key.as_bytes()], |row| {
        row.get(0)
    })
}

/// Returns the numbers of state keys, in no particular order; unknown ones are ignored.
pub fn find_state_keys(tx: &mut Tx<'_>, state_keys: &[Vec<u8>]) -> Result<Vec<StateKeyNid>, DbError> {
    tx.query("SELECT state_key_nid FROM state_keys WHERE state_key = ANY($1)", &[&Any(state_keys)], |row| row.get(0))
}
