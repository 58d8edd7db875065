//! The keys in memory, and which ones were not found.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::{Clock, RateLimiter};
use plexus_protocol::event::sign::{KnownKey, PublicKey};
use plexus_store::repo::server_keys::{ResponseTimes, StoredServerKey};
use quick_cache::sync::Cache;

/// How many servers' keys are in memory.
const CACHED_SERVERS: usize = 10_000;
/// How many keys are known to be missing.
const CACHED_MISSING_KEYS: usize = 10_000;
/// How long a missing key is not searched for again; twice as long each time.
const FIRST_MISSING_LIFETIME: Duration = Duration::from_secs(60);
const MAX_MISSING_LIFETIME: Duration = Duration::from_secs(3600);

/// How many times in a row a server may be asked for unknown keys, and how often in the long run. Anybody can name keys
/// that do not exist.
const REQUEST_BURST: f64 = 5.0;
const REQUESTS_PER_SECOND: f64 = 1.0 / 20.0;

/// The keys of one server.
pub(super) type ServerKeys = HashMap<String, Known>;

/// A key, and the times of its response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) key: KnownKey,
    times: ResponseTimes,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    /// On the clock's monotonic time.
    until: Duration,
    times: u32,
    /// When it should have been valid, Unix ms.
    at_ms: u64,
}

/// The keys in memory.
pub(super) struct KeyCache {
    servers: Cache<String, Arc<ServerKeys>>,
    missing: Cache<(String, String), Missing>,
    /// Limits the requests to each server.
    requests: RateLimiter<str>,
    /// Held while keys are added to those of a server.
    adding: Mutex<()>,
    clock: Clock,
}

impl KeyCache {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            servers: Cache::new(CACHED_SERVERS),
            missing: Cache::new(CACHED_MISSING_KEYS),
            requests: RateLimiter::new(clock.clone(), REQUESTS_PER_SECOND, REQUEST_BURST),
            adding: Mutex::new(()),
            clock,
        }
    }

    /// All known keys of the server; `None` if they have to be read from the database.
    pub(super) fn of(&self, server: &str) -> Option<Arc<ServerKeys>> {
        self.servers.get(server)
    }

    /// The key with the latest validity that is known.
    pub(super) fn key(&self, server: &str, key_id: &str) -> Option<KnownKey> {
        self.servers.get(server)?.get(key_id).map(|known| known.key)
    }

    /// Whether the key is known and was valid at `at_ms`.
    pub(super) fn has(&self, server: &str, key_id: &str, at_ms: u64) -> bool {
        self.key(server, key_id).is_some_and(|key| key.valid_until_ts >= at_ms)
    }

    /// Adds keys of one server where they replace what is known ([`StoredServerKey::replaces`]).
    pub(super) fn add(&self, server: &str, keys: &[StoredServerKey]) {
        let _adding = self.adding.lock();
        let mut all = self.of(server).map(|known| ServerKeys::clone(&known)).unwrap_or_default();
        for stored in keys {
            // A row that holds no key can be of no use.
            let Ok(key) = PublicKey::parse(&stored.public_key) else { continue };
            if all.get(&stored.key_id).is_none_or(|known| stored.replaces(known.times)) {
                let key = KnownKey { key, valid_until_ts: stored.valid_until_ts };
                all.insert(stored.key_id.clone(), Known { key, times: stored.times() });
            }
        }
        self.servers.insert(server.to_owned(), Arc::new(all));
    }

    /// Whether it is too early to search for the key again.
    pub(super) fn is_missing(&self, server: &str, key_id: &str, at_ms: u64) -> bool {
        let missing = self.missing.get(&(server.to_owned(), key_id.to_owned()));
        missing.is_some_and(|missing| missing.at_ms <= at_ms && missing.until > self.clock.monotonic())
    }

    /// Whether the server may be asked now; counts as a request to it.
    pub(super) fn may_ask(&self, server: &str) -> bool {
        self.requests.check(server).is_ok()
    }

    /// The key was not found.
    pub(super) fn set_missing(&self, server: &str, key_id: &str, at_ms: u64) {
        let name = (server.to_owned(), key_id.to_owned());
        let before = self.missing.get(&name);
        let times = before.map_or(0, |before| before.times);
        let wait = FIRST_MISSING_LIFETIME.saturating_mul(2_u32.saturating_pow(times)).min(MAX_MISSING_LIFETIME);
        let until = self.clock.monotonic() + wait;
        let at_ms = before.map_or(at_ms, |before| before.at_ms.min(at_ms));
        self.missing.insert(name, Missing { until, times: times.saturating_add(1), at_ms });
    }
}
