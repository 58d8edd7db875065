//! Access tokens of requests: the hot path, answered from memory.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::{AppServices, Clock};
use plexus_protocol::id::UserId;
use plexus_store::repo::tokens::{self, AccessToken, TokenHash};
use plexus_store::repo::{devices, other_changes};
use plexus_store::{Change, CommitListener, Database, DbError};
use quick_cache::sync::Cache;

use crate::last_seen::{LastSeenBuffer, Seen};
use crate::{Requester, secret};

/// The most tokens in memory; one takes about 400 bytes.
const CACHED_TOKENS: usize = 50_000;
/// A device that is used again from the same place within this time is not recorded again.
const LAST_SEEN_GRANULARITY_MS: u64 = 60_000;
/// How often the last uses of devices are written.
const LAST_SEEN_FLUSH: Duration = Duration::from_secs(30);
/// The number of flushes between deletions of expired tokens: one hour.
const FLUSHES_PER_CLEANUP: u32 = 120;
/// How long expired tokens are remembered, so that their clients refresh them instead of logging in again.
const EXPIRED_GRACE_MS: u64 = 7 * 24 * 3600 * 1000;

/// Why an access token is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Never issued, or revoked: `M_UNKNOWN_TOKEN`.
    #[error("unknown access token")]
    Unknown,
    /// Expired: `M_UNKNOWN_TOKEN` with `soft_logout`; the client keeps its keys and refreshes or logs in again.
    #[error("access token has expired")]
    Expired,
    /// The account is locked: `M_USER_LOCKED` with `soft_logout`. Logging out is still allowed.
    #[error("the account is locked")]
    Locked(Arc<Requester>),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

#[derive(Debug)]
struct Entry {
    requester: Arc<Requester>,
    valid_until_ts: Option<u64>,
    locked: bool,
    /// When and (hashed) where this token was last recorded as seen.
    seen_ts: AtomicU64,
    seen_from: AtomicU64,
}

/// The tokens in memory. Owned by this process: it follows the commits, and drops tokens that end or whose accounts
/// change.
#[derive(Debug)]
struct TokenCache {
    entries: Cache<TokenHash, Arc<Entry>>,
    /// The number of revocations: an entry read from the database before one must not be added after it.
    revocations: Mutex<u64>,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self { entries: Cache::new(CACHED_TOKENS), revocations: Mutex::default() }
    }
}

impl TokenCache {
    fn insert_unless_revoked(&self, hash: TokenHash, entry: Arc<Entry>, revocations_before: u64) {
        let revocations = self.revocations.lock();
        if *revocations == revocations_before {
            self.entries.insert(hash, entry);
        }
    }
}

impl CommitListener for TokenCache {
    fn apply(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Tokens { hashes, .. } => {
                    let mut revocations = self.revocations.lock();
                    *revocations += 1;
                    for hash in hashes {
                        self.entries.remove(hash);
                    }
                }
                Change::Missed { .. } => {
                    let mut revocations = self.revocations.lock();
                    *revocations += 1;
                    self.entries.clear();
                }
                _ => {}
            }
        }
    }
}

/// Checks access tokens.
pub struct TokenChecker {
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    cache: Arc<TokenCache>,
    pub(crate) last_seen: LastSeenBuffer,
    pub(crate) app_services: Arc<AppServices>,
    /// Whether the last uses of devices by application services are recorded.
    pub(crate) records_app_services: bool,
    hasher: RandomState,
}

impl TokenChecker {
    /// Creates a checker with no token in memory. With `records_app_services`, it records when application services use
    /// devices.
    #[must_use]
    pub fn new(db: Database, clock: Clock, app_services: Arc<AppServices>, records_app_services: bool) -> Self {
        let cache = Arc::new(TokenCache::default());
        db.add_listener(&cache);
        let (last_seen, hasher) = (LastSeenBuffer::default(), RandomState::new());
        Self { db, clock, cache, last_seen, app_services, records_app_services, hasher }
    }

    /// Returns the user of a token, and records that the device was used.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn check(&self, token: &str, seen: Seen<'_>) -> Result<Arc<Requester>, TokenError> {
        let hash = secret::hash(token);
        let entry = match self.cache.entries.get(&hash) {
            Some(entry) => entry,
            None => self.load(hash).await?,
        };
        let now = self.clock.now_ms();
        if entry.valid_until_ts.is_some_and(|until| until <= now) {
            return Err(TokenError::Expired);
        }
        if entry.locked {
            return Err(TokenError::Locked(entry.requester.clone()));
        }
        self.record_seen(&entry, seen, now);
        Ok(entry.requester.clone())
    }

    /// Checks at the end of a request that waited whether its session has been ended meanwhile. A token that has
    /// expired or was refreshed since then is still accepted: the client is about to use its new one.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn check_after_wait(&self, token: &str, requester: &Requester) -> Result<(), TokenError> {
        if requester.acting_service.is_some() {
            return self.check_service_after_wait(token, requester).await;
        }
        let hash = secret::hash(token);
        let entry = match self.cache.entries.get(&hash) {
            Some(entry) => Ok(entry),
            None => self.load(hash).await,
        };
        match entry {
            Ok(entry) if entry.locked => Err(TokenError::Locked(entry.requester.clone())),
            Err(TokenError::Unknown) if self.has_device(requester).await? => Ok(()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the device of a session still exists.
    async fn has_device(&self, requester: &Requester) -> Result<bool, DbError> {
        let Some(device) = requester.device_id.clone() else { return Ok(false) };
        let user = requester.user_id.to_string();
        self.db.read(move |tx| Ok(devices::get(tx, &user, &device)?.is_some())).await
    }

    async fn load(&self, hash: TokenHash) -> Result<Arc<Entry>, TokenError> {
        let revocations_before = *self.cache.revocations.lock();
        let stored: Result<_, DbError> = self.db.read(move |tx| tokens::by_hash(tx, &hash)).await;
        let token = stored?.ok_or(TokenError::Unknown)?;
        if token.deactivated {
            return Err(TokenError::Unknown);
        }
        let expired = token.valid_until_ts.is_some_and(|until| until <= self.clock.now_ms());
        let first_use = token.refresh_token_id.is_some() && !token.used && !expired;
        let token_id = token.token_id;
        let entry = Arc::new(entry(token));
        if first_use {
            self.end_predecessors(token_id).await?;
            // Not cached: the next request reads the row again and caches it.
        } else {
            self.cache.insert_unless_revoked(hash, entry.clone(), revocations_before);
        }
        Ok(entry)
    }

    /// Ends the token from which a refreshed one was made, at its first use (client-server API, "Refreshing access
    /// tokens").
    async fn end_predecessors(&self, token_id: i64) -> Result<(), DbError> {
        self.db
            .write(move |tx| {
                let ended = tokens::mark_used(tx, token_id)?;
                other_changes::record_tokens(tx, ended)
            })
            .await
    }

    fn record_seen(&self, entry: &Entry, seen: Seen<'_>, now: u64) {
        let Some(device_id) = &entry.requester.device_id else { return };
        let from = self.hasher.hash_one(seen);
        let recent = now < entry.seen_ts.load(Ordering::Relaxed).saturating_add(LAST_SEEN_GRANULARITY_MS);
        if recent && entry.seen_from.load(Ordering::Relaxed) == from {
            return;
        }
        entry.seen_ts.store(now, Ordering::Relaxed);
        entry.seen_from.store(from, Ordering::Relaxed);
        self.last_seen.record(&entry.requester.user_id, device_id, seen, now);
    }

    /// Returns the last use of a device that is not written yet.
    pub(crate) fn pending_last_seen(&self, user_id: &UserId, device_id: &str) -> Option<devices::LastSeen> {
        self.last_seen.of(user_id, device_id)
    }

    /// Writes the last uses of devices; also called at shutdown.
    ///
    /// # Errors
    /// When the database fails; the data is kept for the next time.
    pub async fn flush_last_seen(&self) -> Result<(), DbError> {
        self.last_seen.flush(&self.db).await
    }

    /// Writes last uses and deletes expired tokens, for ever.
    pub async fn run_housekeeping(self: Arc<Self>) {
        for flush in (0..FLUSHES_PER_CLEANUP).cycle() {
            self.clock.sleep(LAST_SEEN_FLUSH).await;
            if let Err(error) = self.flush_last_seen().await {
                tracing::warn!(%error, "could not record when devices were last seen");
            }
            if flush == 0
                && let Err(error) = self.delete_expired().await
            {
                tracing::warn!(%error, "could not delete expired tokens");
            }
        }
    }

    async fn delete_expired(&self) -> Result<(), DbError> {
        let now = self.clock.now_ms();
        self.db.write(move |tx| tokens::delete_expired(tx, now, EXPIRED_GRACE_MS)).await
    }
}

fn entry(token: AccessToken) -> Entry {
    let requester = Requester {
        user_id: token.user_id,
        device_id: token.device_id,
        token_id: token.token_id,
        is_guest: token.is_guest,
        is_admin: token.is_admin,
        appservice_id: token.appservice_id,
        acting_service: None,
        suspended: token.suspended,
        shadow_banned: token.shadow_banned,
        puppeted_by: token.puppeted_by,
    };
    Entry {
        requester: Arc::new(requester),
        valid_until_ts: token.valid_until_ts,
        locked: token.locked,
        seen_ts: AtomicU64::new(0),
        seen_from: AtomicU64::new(0),
    }
}
