//! The counts of a device's one-time keys and its unused fallback keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::json::{ObjectWriter, write_strings};
use plexus_store::{Database, DbError, Position, Tx, repo};
use quick_cache::sync::Cache;

use crate::notifier::{ChangeIndex, MaybeChanged};

/// How many devices' counts are kept in memory.
const CACHE_CAPACITY: usize = 50_000;

/// The counts of each device. Owned by this process, which reads them again after a change.
pub(super) struct KeyCountCache(Cache<(UserId, String), Arc<KeyCounts>>);

/// The counts of one device.
#[derive(Debug)]
pub struct KeyCounts {
    read_at: Position,
    /// Algorithm to count, JSON.
    pub one_time_keys: String,
    /// Algorithms, JSON.
    pub unused_fallback_keys: String,
}

impl Default for KeyCountCache {
    fn default() -> Self {
        Self(Cache::new(CACHE_CAPACITY))
    }
}

impl KeyCountCache {
    pub(super) async fn get(
        &self,
        db: &Database,
        index: &ChangeIndex,
        user: &UserId,
        device: &str,
    ) -> Result<Arc<KeyCounts>, DbError> {
        let key = (user.clone(), device.to_owned());
        if let Some(counts) = self.0.get(&key)
            && index.device_keys_changed(user, device, counts.read_at) == MaybeChanged::Known(false)
        {
            return Ok(counts);
        }
        let counts = Arc::new(read(db, user, device).await?);
        self.0.insert(key, Arc::clone(&counts));
        Ok(counts)
    }
}

async fn read(db: &Database, user: &UserId, device: &str) -> Result<KeyCounts, DbError> {
    let read_at = db.committed();
    let (user, device) = (user.to_string(), device.to_owned());
    let read = move |tx: &mut Tx<'_>| {
        let counts = repo::one_time_keys::counts(tx, &user, &device)?;
        Ok::<_, DbError>((counts, repo::one_time_keys::unused_fallback_types(tx, &user, &device)?))
    };
    let (mut counts, types): (BTreeMap<String, u64>, Vec<String>) = db.read(read).await?;
    // Clients take a missing count for an unchanged one.
    counts.entry("signed_curve25519".to_owned()).or_insert(0);
    let (mut one_time_keys, mut unused_fallback_keys) = (String::new(), String::new());
    let mut members = ObjectWriter::open(&mut one_time_keys);
    counts.iter().for_each(|(algorithm, count)| members.number(algorithm, count));
    members.close();
    write_strings(types.iter().map(String::as_str), &mut unused_fallback_keys);
    Ok(KeyCounts { read_at, one_time_keys, unused_fallback_keys })
}
