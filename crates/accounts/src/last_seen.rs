//! The times at which devices were last used, and their addresses: collected in memory, written in batches.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use plexus_store::repo::devices;
use plexus_store::{Database, DbError};

/// The most devices whose last use waits to be written. Above it others are not recorded until the next flush.
const MAX_PENDING: usize = 50_000;
/// The longest user agent that is stored, in bytes; the rest is cut off.
const MAX_USER_AGENT: usize = 512;

/// Where a request came from.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub struct Seen<'a> {
    /// The client's address; `None` if it is not known.
    pub ip: Option<IpAddr>,
    /// The User-Agent header.
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

    /// Returns the last use of a device, if it is not written yet.
    pub(crate) fn of(&self, user_id: &UserId, device_id: &str) -> Option<devices::LastSeen> {
        self.pending.lock().get(&(user_id.clone(), device_id.to_owned())).cloned()
    }

    /// Writes the collected uses. After an error they are kept for the next time, unless newer ones have come.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_is_cut_between_characters() {
        assert_eq!(shortened("Element\0/1.0"), "Element/1.0");
        assert_eq!(shortened(&"x".repeat(MAX_USER_AGENT + 1)).len(), MAX_USER_AGENT);
        assert_eq!(shortened(&"€".repeat(MAX_USER_AGENT)), "€".repeat(MAX_USER_AGENT / 3));
    }
}
