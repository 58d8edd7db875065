//! When and from where devices were last used: collected in memory, written in batches.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use plexus_store::repo::devices;
use plexus_store::{Database, DbError};

/// Distinct devices that may wait to be written. Above it new ones are not recorded until the next flush.
const MAX_PENDING: usize = 50_000;
/// Longest stored user agent in bytes.
const MAX_USER_AGENT: usize = 512;

/// Where a request came from.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub struct Seen<'a> {
    pub ip: Option<IpAddr>,
    pub user_agent: Option<&'a str>,
}

type Pending = HashMap<(UserId, String), devices::LastSeen>;

/// The devices seen since the last flush.
#[derive(Debug, Default)]
pub(crate) struct LastSeenBuffer {
    pending: Mutex<Pending>,
}

impl LastSeenBuffer {
    pub(crate) fn record(&self, user_id: &UserId, device_id: &str, seen: Seen<'_>, now: u64) {
        let key = (user_id.clone(), device_id.to_owned());
        let mut pending = self.pending.lock();
        if pending.len() >= MAX_PENDING && !pending.contains_key(&key) {
            return;
        }
        let row = devices::LastSeen {
            user_id: user_id.as_str().to_owned(),
            device_id: device_id.to_owned(),
            ts: now,
            ip: seen.ip.map(|ip| ip.to_canonical().to_string()),
            user_agent: seen.user_agent.map(shortened),
        };
        pending.insert(key, row);
    }

    /// What is not written yet about a device.
    pub(crate) fn of(&self, user_id: &UserId, device_id: &str) -> Option<devices::LastSeen> {
        self.pending.lock().get(&(user_id.clone(), device_id.to_owned())).cloned()
    }

    /// Writes what was collected. On an error it is kept for the next time, unless newer data came in.
    pub(crate) async fn flush(&self, db: &Database) -> Result<(), DbError> {
        let taken = std::mem::take(&mut *self.pending.lock());
        if taken.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = taken.values().cloned().collect();
        let result: Result<(), DbError> = db.write(move |tx| devices::set_last_seen(tx, &rows)).await;
        if result.is_err() {
            let mut pending = self.pending.lock();
            for (key, row) in taken {
                pending.entry(key).or_insert(row);
            }
        }
        result
    }
}

fn shortened(user_agent: &str) -> String {
    let mut end = user_agent.len().min(MAX_USER_AGENT);
    while !user_agent.is_char_boundary(end) {
        end -= 1;
    }
    // PostgreSQL text cannot hold NUL.
    user_agent[..end].replace('\0', "")
}
