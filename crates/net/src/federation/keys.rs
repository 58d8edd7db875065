//! The keys that other servers sign with.

mod cache;
mod fetch;
mod notary;
mod response;
mod search_limits;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use plexus_base::Clock;
use plexus_protocol::event::sign::{KnownKey, PublicKey, SigningKey};
use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;
use plexus_store::repo::server_keys::{self, StoredServerKey};
use plexus_store::{Database, DbError};

use super::call::Patience;
use super::client::FederationClient;
use super::gates::Gates;
use cache::KeyCache;
use fetch::Wanted;
use search_limits::SearchLimits;

pub use fetch::TrustedKeyServer;
pub use search_limits::TooManySearches;

/// From how many servers on the trusted key servers are asked first: one request instead of many.
const MIN_SERVERS_FOR_NOTARIES: usize = 4;
/// The most servers that are asked for their own keys at once by one search, each for up to ten seconds. It is also at
/// most a quarter of the connections.
const MAX_CONCURRENT_REQUESTS: usize = 128;

/// How long a request waits for the key that it is said to be signed with.
const REQUEST_KEY_TIMEOUT: Duration = Duration::from_secs(20);

/// On whose behalf keys are looked for.
#[derive(Debug, Clone, Copy)]
enum Asker {
    /// This server, for its own purposes.
    Ourselves,
    /// An unauthenticated request that names the server, from this address; `None` if many may be behind it.
    Unauthenticated(Option<IpAddr>),
}

/// A key that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WantedKey {
    /// The server that signs with it.
    pub server: String,
    /// Its id, `ed25519:...`.
    pub key_id: String,
    /// When it must have been valid, Unix ms; 0 in room versions in which that does not matter.
    pub at_ms: u64,
}

/// Why something does not count as signed by a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// There is no ed25519 signature of it.
    #[error("it is not signed by {0}")]
    Missing(String),
    /// None of the keys that it is signed with is known and was valid at the time.
    #[error("no key that {0} signed it with is known and was valid then")]
    UnknownKey(String),
    /// The signature is wrong.
    #[error("the signature of {0} is wrong")]
    Invalid(String),
}

/// What the key ring is built from.
pub struct KeyRingParts {
    /// This server's name.
    pub server_name: ServerName,
    /// The key this server signs with.
    pub signing_key: Arc<SigningKey>,
    /// This server's own keys by id, those of earlier times too.
    pub own_keys: HashMap<String, KnownKey>,
    /// The trusted key servers.
    pub trusted: Vec<TrustedKeyServer>,
    /// Sends the requests.
    pub client: Arc<FederationClient>,
    /// Stores the keys.
    pub db: Database,
    /// The clock.
    pub clock: Clock,
}

/// Finds the keys of other servers.
pub struct KeyRing {
    server_name: ServerName,
    signing_key: Arc<SigningKey>,
    own_keys: HashMap<String, KnownKey>,
    trusted: Vec<TrustedKeyServer>,
    client: Arc<FederationClient>,
    db: Database,
    clock: Clock,
    cache: KeyCache,
    /// One search at a time for each server's keys.
    searching: Gates,
    search_limits: SearchLimits,
}

impl KeyRing {
    /// Builds the key ring; nothing is read or asked yet.
    pub fn new(parts: KeyRingParts) -> Self {
        let KeyRingParts { server_name, signing_key, own_keys, trusted, client, db, clock } = parts;
        let cache = KeyCache::new(clock.clone());
        let search_limits = SearchLimits::new(client.max_connections(), clock.clone());
        let searching = Gates::new(1);
        Self { server_name, signing_key, own_keys, trusted, client, db, clock, cache, searching, search_limits }
    }

    /// Finds keys: in memory, in the database, at the servers themselves (unless they are backed off) and at the
    /// trusted key servers. Keys that are not found are absent; one that was not valid at the wanted time is there,
    /// with the time until which it was.
    pub async fn keys(&self, wanted: &[WantedKey]) -> HashMap<(String, String), KnownKey> {
        self.find_for_us(wanted).await;
        let found = wanted.iter().filter_map(|wanted| {
            let key = self.known(&wanted.server, &wanted.key_id)?;
            Some(((wanted.server.clone(), wanted.key_id.clone()), key))
        });
        found.collect()
    }

    /// Checks that `server` signed `object` with a key that was valid at `at_ms` (Unix ms), by
    /// <https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature>. Not for events, whose signatures cover
    /// their redacted form.
    ///
    /// # Errors
    /// See [`NotSigned`].
    pub async fn verify_json(&self, server: &ServerName, object: &Object, at_ms: u64) -> Result<(), NotSigned> {
        let name = server.as_str();
        let signatures = object.get_object("signatures").and_then(|all| all.get_object(name));
        let ids = signatures.into_iter().flat_map(Object::keys).filter(|id| id.starts_with("ed25519:"));
        let ids: Vec<&str> = ids.collect();
        if ids.is_empty() {
            return Err(NotSigned::Missing(name.to_owned()));
        }
        let wanted = ids.iter().map(|id| WantedKey { server: name.to_owned(), key_id: (*id).to_owned(), at_ms });
        let wanted: Vec<_> = wanted.collect();
        self.find_for_us(&wanted).await;
        let mut error = NotSigned::UnknownKey(name.to_owned());
        for id in ids {
            let Some(known) = self.known(name, id).filter(|known| known.valid_until_ts >= at_ms) else { continue };
            if known.key.verify_object(object, name, id) {
                return Ok(());
            }
            error = NotSigned::Invalid(name.to_owned());
        }
        Err(error)
    }

    /// Returns the keys of `server` with these ids that are valid now. A request from `source` claims to be signed with
    /// them; whether it is, and so whether that server has sent it, is not known yet.
    ///
    /// # Errors
    /// When a key would have to be looked for, and too many are already.
    pub async fn keys_of_request(
        &self,
        server: &ServerName,
        key_ids: &BTreeSet<&str>,
        source: Option<IpAddr>,
    ) -> Result<HashMap<String, PublicKey>, TooManySearches> {
        let now = self.clock.now_ms();
        let name = server.as_str();
        let wanted =
            key_ids.iter().map(|id| WantedKey { server: name.to_owned(), key_id: (*id).to_owned(), at_ms: now });
        let wanted: Vec<_> = wanted.collect();
        // It is likely to be up: it may be asked even while it is backed off.
        let asked = AtomicBool::new(false);
        let searched = tokio::select! {
            biased;
            found = self.find(&wanted, Patience::Now, Asker::Unauthenticated(source), &asked) => found,
            () = self.clock.sleep(REQUEST_KEY_TIMEOUT) => if asked.load(Ordering::Relaxed) {
                self.note_missing(&self.by_server(&wanted));
                Ok(())
            } else {
                // The time passed while others searched: nothing is known about these keys.
                Err(TooManySearches)
            }
        };
        let valid = |id: &&str| self.known(name, id).filter(|known| known.valid_until_ts >= now);
        let found = key_ids.iter().filter_map(|id| Some(((*id).to_owned(), valid(id)?.key)));
        let found: HashMap<_, _> = found.collect();
        match searched {
            Err(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }

    /// The key, if it is known.
    fn known(&self, server: &str, key_id: &str) -> Option<KnownKey> {
        if server == self.server_name.as_str() {
            return self.own_keys.get(key_id).copied();
        }
        self.cache.key(server, key_id)
    }

    /// [`Self::find`] for this server itself.
    async fn find_for_us(&self, wanted: &[WantedKey]) {
        drop(self.find(wanted, Patience::Background, Asker::Ourselves, &AtomicBool::new(false)).await);
    }

    /// Loads or fetches the wanted keys into the cache. `asked` becomes true once a server has been asked for its keys
    /// and has responded, or not in time. Fails when nothing was looked for, because too many searches for
    /// unauthenticated requests are under way.
    async fn find(
        &self,
        wanted: &[WantedKey],
        patience: Patience,
        asker: Asker,
        asked: &AtomicBool,
    ) -> Result<(), TooManySearches> {
        let wanted = self.by_server(wanted);
        self.read_stored(&wanted).await;
        let lacking = self.worth_searching(&wanted);
        if lacking.is_empty() {
            return Ok(());
        }
        // Before the gates: a search that waits for its turn must not keep others out of a server's gate.
        let _turn = self.turn(asker).await?;
        // In one order for everybody, so that no two wait for each other.
        let mut servers: Vec<&ServerName> = lacking.keys().collect();
        servers.sort();
        let mut passes = HashMap::new();
        for server in servers {
            passes.insert(server.clone(), self.searching.enter(server.as_str()).await);
        }
        // Other searches may have found some, or failed to, meanwhile.
        let mut lacking = self.worth_searching(&lacking);
        lacking.retain(|server, _| self.cache.may_ask(server.as_str()));
        let many = lacking.len() >= MIN_SERVERS_FOR_NOTARIES;
        if many {
            self.ask_notaries(&lacking).await;
        }
        let at_once = (self.client.max_connections() / 4).clamp(1, MAX_CONCURRENT_REQUESTS);
        let missing = self.still_missing(&lacking);
        passes.retain(|server, _| missing.contains_key(server));
        let searches = missing.into_iter().map(|(server, keys)| {
            let pass = passes.remove(&server);
            (server, keys, pass)
        });
        futures_util::stream::iter(searches)
            .for_each_concurrent(at_once, |(server, keys, pass)| async move {
                let was_asked = self.ask_server(&server, patience).await;
                asked.fetch_or(was_asked, Ordering::Relaxed);
                let wanted = Wanted::from([(server, keys)]);
                if !many {
                    self.ask_notaries(&wanted).await;
                }
                if was_asked {
                    self.note_missing(&wanted);
                }
                drop(pass);
            })
            .await;
        Ok(())
    }

    /// Waits for the turn of a search; those of this server itself need none.
    async fn turn(&self, asker: Asker) -> Result<Option<search_limits::Turn>, TooManySearches> {
        match asker {
            Asker::Ourselves => Ok(None),
            Asker::Unauthenticated(source) => self.search_limits.turn(source).await.map(Some),
        }
    }

    fn note_missing(&self, wanted: &Wanted) {
        for (server, keys) in self.still_missing(wanted) {
            for (key_id, at_ms) in keys {
                self.cache.set_missing(server.as_str(), &key_id, at_ms);
            }
        }
    }

    /// The keys by server and id, without this server's own and without invalid server names.
    fn by_server(&self, wanted: &[WantedKey]) -> Wanted {
        let mut by_server = Wanted::new();
        for WantedKey { server, key_id, at_ms } in wanted {
            let Ok(server) = ServerName::try_from(server.as_str()) else { continue };
            if server != self.server_name {
                let since = by_server.entry(server).or_default().entry(key_id.clone()).or_default();
                *since = (*since).max(*at_ms);
            }
        }
        by_server
    }

    async fn read_stored(&self, wanted: &Wanted) {
        let names = wanted.keys().map(ServerName::as_str).filter(|server| self.cache.of(server).is_none());
        let names: Vec<String> = names.map(str::to_owned).collect();
        if names.is_empty() {
            return;
        }
        let asked = names.clone();
        let stored: Result<_, DbError> = self.db.read(move |tx| server_keys::of_servers(tx, &asked)).await;
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => return tracing::warn!("cannot read the keys of other servers: {error}"),
        };
        let mut by_server: HashMap<&str, Vec<StoredServerKey>> = HashMap::new();
        for key in &stored {
            by_server.entry(&key.server_name).or_default().push(key.clone());
        }
        for name in &names {
            let keys = by_server.get(name.as_str()).map_or(&[][..], Vec::as_slice);
            self.cache.add(name, keys);
        }
    }

    fn worth_searching(&self, wanted: &Wanted) -> Wanted {
        let mut lacking = self.still_missing(wanted);
        lacking.retain(|server, keys| {
            keys.retain(|key_id, at_ms| !self.cache.is_missing(server.as_str(), key_id, *at_ms));
            !keys.is_empty() && self.client.is_allowed(server)
        });
        lacking
    }
}
