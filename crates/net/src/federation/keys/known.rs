//! The keys in memory, and which ones were looked for in vain.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_protocol::event::sign::{KnownKey, PublicKey};
use plexus_store::repo::server_keys::StoredServerKey;
use quick_cache::sync::Cache;

/// How many servers' keys are kept in memory.
const SERVERS: usize = 10_000;
/// How many keys that could not be found are remembered.
const MISSING: usize = 10_000;
/// How long a key that could not be found is not looked for again; twice as long each time.
const MISSING_FOR: Duration = Duration::from_secs(60);
/// The longest that it becomes.
const MISSING_AT_MOST: Duration = Duration::from_secs(3600);

/// How often a server may be asked at once because of keys that are not known, and after how long once more. Anybody
/// can name keys that nobody has.
const ASKED_AT_ONCE: u32 = 5;
const ASKED_AGAIN: Duration = Duration::from_secs(20);

/// The keys of one server.
pub(super) type ServerKeys = HashMap<String, Known>;

/// A key, and how late the response that told of it says it is valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) key: KnownKey,
    stated_until: u64,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    /// On the clock's monotonic time.
    until: Duration,
    times: u32,
    /// For when it was wanted, in unix ms.
    at_ms: u64,
}

/// What is in memory.
pub(super) struct Memory {
    servers: Cache<String, Arc<ServerKeys>>,
    missing: Cache<(String, String), Missing>,
    /// Server to the moment from which on it may be asked as often as ever, on the clock's monotonic time.
    asked: Cache<String, Duration>,
    /// Held while keys are added to those of a server.
    adding: Mutex<()>,
    clock: Clock,
}

impl Memory {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            servers: Cache::new(SERVERS),
            missing: Cache::new(MISSING),
            asked: Cache::new(SERVERS),
            adding: Mutex::new(()),
            clock,
        }
    }

    /// All keys known of the server; `None` if the database has to be asked.
    pub(super) fn of(&self, server: &str) -> Option<Arc<ServerKeys>> {
        self.servers.get(server)
    }

    /// The best that is known of a key.
    pub(super) fn key(&self, server: &str, key_id: &str) -> Option<KnownKey> {
        self.servers.get(server)?.get(key_id).map(|known| known.key)
    }

    /// Whether the key is known and was valid at `at_ms`.
    pub(super) fn has(&self, server: &str, key_id: &str, at_ms: u64) -> bool {
        self.key(server, key_id).is_some_and(|key| key.valid_until_ts >= at_ms)
    }

    /// Adds keys of one server; one that a response with a later `valid_until_ts` told of stays as it is.
    pub(super) fn add(&self, server: &str, keys: &[StoredServerKey]) {
        let _adding = self.adding.lock();
        let mut all = self.of(server).map(|known| ServerKeys::clone(&known)).unwrap_or_default();
        for stored in keys {
            // A row that holds no key can be of no use.
            let Ok(key) = PublicKey::parse(&stored.public_key) else { continue };
            if all.get(&stored.key_id).is_none_or(|known| known.stated_until <= stored.stated_until_ts) {
                let key = KnownKey { key, valid_until_ts: stored.valid_until_ts };
                all.insert(stored.key_id.clone(), Known { key, stated_until: stored.stated_until_ts });
            }
        }
        self.servers.insert(server.to_owned(), Arc::new(all));
    }

    /// Whether it is no use to look for the key again yet.
    pub(super) fn is_missing(&self, server: &str, key_id: &str, at_ms: u64) -> bool {
        let missing = self.missing.get(&(server.to_owned(), key_id.to_owned()));
        missing.is_some_and(|missing| missing.at_ms <= at_ms && missing.until > self.clock.monotonic())
    }

    /// Whether the server may be asked now; counts as asking it.
    pub(super) fn may_ask(&self, server: &str) -> bool {
        let now = self.clock.monotonic();
        let after = self.asked.get(server).unwrap_or_default().max(now) + ASKED_AGAIN;
        let may = after <= now + ASKED_AGAIN * ASKED_AT_ONCE;
        if may {
            self.asked.insert(server.to_owned(), after);
        }
        may
    }

    /// The key was looked for in vain.
    pub(super) fn set_missing(&self, server: &str, key_id: &str, at_ms: u64) {
        let name = (server.to_owned(), key_id.to_owned());
        let before = self.missing.get(&name);
        let times = before.map_or(0, |before| before.times);
        let wait = MISSING_FOR.saturating_mul(2_u32.saturating_pow(times)).min(MISSING_AT_MOST);
        let until = self.clock.monotonic() + wait;
        let at_ms = before.map_or(at_ms, |before| before.at_ms.min(at_ms));
        self.missing.insert(name, Missing { until, times: times.saturating_add(1), at_ms });
    }
}
