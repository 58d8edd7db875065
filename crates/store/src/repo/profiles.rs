//! Profile fields of local users.

use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::user_directory;
use crate::{Database, DbError, Tx};

/// The longest display name and avatar address, in characters (as Synapse).
const MAX_DISPLAYNAME: usize = 256;
const MAX_AVATAR_URL: usize = 1_000;

/// How many characters the text of a field may have; `None` for those that only the whole profile's size bounds.
#[must_use]
pub fn longest(field: &str) -> Option<usize> {
    match field {
        "displayname" => Some(MAX_DISPLAYNAME),
        "avatar_url" => Some(MAX_AVATAR_URL),
        _ => None,
    }
}

/// A user's fields: name and JSON value, by name.
pub type Fields = Arc<[(String, String)]>;

/// Profiles that were read lately. All changes of profiles go through it.
#[derive(Debug, Clone)]
pub struct ProfileCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cache: Cache<String, Fields, ByBytes>,
    /// Counts changes: what was read from the database before one must not be kept after it.
    changes: Mutex<u64>,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<String, Fields> for ByBytes {
    fn weight(&self, user_id: &String, fields: &Fields) -> u64 {
        let texts: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        // With what an entry and each text take besides.
        (user_id.len() + texts + 128 + fields.len() * 64) as u64
    }
}

impl ProfileCache {
    /// At most `bytes` are kept.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let cache = Cache::with_weighter(bytes / 256, bytes as u64, ByBytes);
        Self(Arc::new(Inner { cache, changes: Mutex::default() }))
    }

    /// How many there are, and how many bytes they take.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        (self.0.cache.len() as u64, self.0.cache.weight())
    }

    /// A user's fields, from memory or the database.
    pub async fn of(&self, db: &Database, user_id: &str) -> Result<Fields, DbError> {
        if let Some(fields) = self.0.cache.get(user_id) {
            return Ok(fields);
        }
        let changes = *self.0.changes.lock();
        let user_id = user_id.to_owned();
        let (user_id, fields) = db.read(move |tx| all(tx, &user_id).map(|fields| (user_id, fields))).await?;
        let fields = Fields::from(fields);
        let now = self.0.changes.lock();
        if *now == changes {
            self.0.cache.insert(user_id, Arc::clone(&fields));
        }
        Ok(fields)
    }

    /// Sets a field to a JSON value.
    pub fn set(&self, tx: &mut Tx<'_>, user_id: &str, field: &str, value: &str) -> Result<(), DbError> {
        tx.execute_later(
            "INSERT INTO profile_fields (user_id, field, value) VALUES ($1, $2, $3)
             ON CONFLICT (user_id, field) DO UPDATE SET value = excluded.value",
            &[&user_id, &field, &value],
        )?;
        self.changed(tx, user_id, longest(field).is_some())
    }

    /// Removes a field.
    pub fn delete(&self, tx: &mut Tx<'_>, user_id: &str, field: &str) -> Result<(), DbError> {
        tx.execute_later("DELETE FROM profile_fields WHERE user_id = $1 AND field = $2", &[&user_id, &field])?;
        self.changed(tx, user_id, longest(field).is_some())
    }

    /// Removes all fields.
    pub fn erase(&self, tx: &mut Tx<'_>, user_id: &str) -> Result<(), DbError> {
        tx.execute_later("DELETE FROM profile_fields WHERE user_id = $1", &[&user_id])?;
        self.changed(tx, user_id, true)
    }

    /// `in_directory`: users are found by what has changed, or shown with it.
    fn changed(&self, tx: &mut Tx<'_>, user_id: &str, in_directory: bool) -> Result<(), DbError> {
        self.forget_after_commit(tx, user_id);
        if in_directory { user_directory::index_local(tx, user_id) } else { Ok(()) }
    }

    fn forget_after_commit(&self, tx: &mut Tx<'_>, user_id: &str) {
        let (inner, user_id) = (Arc::clone(&self.0), user_id.to_owned());
        tx.after_commit(move || {
            let mut changes = inner.changes.lock();
            *changes += 1;
            inner.cache.remove(&user_id);
        });
    }
}

impl Inner {}

/// All fields of a user, as the transaction sees them, as far as they can be read: name and JSON value, by name.
pub fn all(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<(String, String)>, DbError> {
    let select = "SELECT field, value FROM profile_fields WHERE user_id = $1 ORDER BY field";
    let fields: Vec<(String, String)> = tx.query(select, &[&user_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let value = |(field, value): (String, String)| {
        let value = crate::readable_json(value, || format!("profile_fields, {user_id}, field {field:?}"))?;
        Some((field, value))
    };
    Ok(fields.into_iter().filter_map(value).collect())
}
