//! The keys that other servers sign with.

mod fetch;
mod known;
mod response;
mod strangers;
mod vouch;

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
use fetch::Wanted;
use known::Memory;
use strangers::Strangers;

pub use fetch::TrustedKeyServer;
pub use strangers::TooManySearches;

/// From how many servers on the trusted key servers are asked first: one question instead of many.
const MANY: usize = 4;
/// The most servers that are asked for their own keys at once, for one purpose; a dead one takes ten seconds to tell.
/// No more than a quarter of the connections.
const MOST_AT_ONCE: usize = 128;

/// How long a stranger's request waits for the key it is signed with, whatever the server does that has to tell it.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(20);

/// On whose behalf keys are looked for.
#[derive(Debug, Clone, Copy)]
enum Asker {
    /// This server, of its own accord.
    Ourselves,
    /// Whoever named the server, at this address; `None` if many may be behind it.
    Stranger(Option<IpAddr>),
}

/// A key that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedKey {
    /// Whose.
    pub server: String,
    /// Its id, `ed25519:...`.
    pub key_id: String,
    /// When it must have been valid, in unix ms; 0 in room versions that do not care.
    pub at_ms: u64,
}

/// Why something is not taken as signed by a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// There is no ed25519 signature of it.
    #[error("it is not signed by {0}")]
    Missing(String),
    /// None of the keys it is signed with could be had, or none was valid at the time.
    #[error("no key that {0} signed it with is known and was valid then")]
    UnknownKey(String),
    /// The signature is another's.
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
    /// Who asks.
    pub client: Arc<FederationClient>,
    /// Where keys are kept.
    pub db: Database,
    /// The time.
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
    memory: Memory,
    /// One search at a time for each server's keys.
    searching: Gates,
    strangers: Strangers,
}

impl KeyRing {
    /// Builds the key ring; nothing is read or asked yet.
    pub fn new(parts: KeyRingParts) -> Self {
        let KeyRingParts { server_name, signing_key, own_keys, trusted, client, db, clock } = parts;
        let memory = Memory::new(clock.clone());
        let strangers = Strangers::new(client.max_connections(), clock.clone());
        let searching = Gates::new(1);
        Self { server_name, signing_key, own_keys, trusted, client, db, clock, memory, searching, strangers }
    }

    /// Finds keys: in memory, in the database, at the servers themselves (unless they are left alone because they fail)
    /// and at the trusted key servers. Those that cannot be had are absent; one that was not valid at the wanted time
    /// is there, with the time until which it was.
    pub async fn keys(&self, wanted: &[WantedKey]) -> HashMap<(String, String), KnownKey> {
        self.find_for_us(wanted).await;
        let found = wanted.iter().filter_map(|wanted| {
            let key = self.known(&wanted.server, &wanted.key_id)?;
            Some(((wanted.server.clone(), wanted.key_id.clone()), key))
        });
        found.collect()
    }

    /// Checks that `server` signed `object` (appendices, "Checking for a Signature") with a key that was valid at
    /// `at_ms` (unix ms). Not for events, whose signatures cover their redacted form.
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

    /// Those of the keys `key_ids` of `server` that are valid now. A request has come from `source` that is said to be
    /// signed with them; whether it is, and so whether that server has sent it, is not known yet.
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
        // It is likely to be up: it may be asked even if it did not answer before.
        let asked = AtomicBool::new(false);
        let searched = tokio::select! {
            biased;
            found = self.find(&wanted, Patience::Now, Asker::Stranger(source), &asked) => found,
            () = self.clock.sleep(STRANGER_TIMEOUT) => if asked.load(Ordering::Relaxed) {
                self.note_missing(&self.sorted_out(&wanted));
                Ok(())
            } else {
                // The time went by while others searched: nothing is known of these keys.
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

    /// What is known of a key.
    fn known(&self, server: &str, key_id: &str) -> Option<KnownKey> {
        if server == self.server_name.as_str() {
            return self.own_keys.get(key_id).copied();
        }
        self.memory.key(server, key_id)
    }

    /// [`Self::find`] for ourselves, who always have a turn.
    async fn find_for_us(&self, wanted: &[WantedKey]) {
        drop(self.find(wanted, Patience::Background, Asker::Ourselves, &AtomicBool::new(false)).await);
    }

    /// Brings into memory what can be had of `wanted`. `asked` becomes true once a server has been asked for its keys
    /// and has answered, or has had its time. An error when nothing was looked for, because too many searches of
    /// strangers are under way.
    async fn find(
        &self,
        wanted: &[WantedKey],
        patience: Patience,
        asker: Asker,
        asked: &AtomicBool,
    ) -> Result<(), TooManySearches> {
        let wanted = self.sorted_out(wanted);
        self.read_stored(&wanted).await;
        let lacking = self.worth_looking_for(&wanted);
        if lacking.is_empty() {
            return Ok(());
        }
        // Before the gates: nobody may keep others out of a server's gate who does not search himself.
        let _turn = self.turn(asker).await?;
        // In one order for everybody, so that no two wait for each other.
        let mut servers: Vec<&ServerName> = lacking.keys().collect();
        servers.sort();
        let mut passes = HashMap::new();
        for server in servers {
            passes.insert(server.clone(), self.searching.enter(server.as_str()).await);
        }
        // Others may have found some, or have looked in vain, meanwhile.
        let mut lacking = self.worth_looking_for(&lacking);
        lacking.retain(|server, _| self.memory.may_ask(server.as_str()));
        let many = lacking.len() >= MANY;
        if many {
            self.ask_trusted(&lacking).await;
        }
        let at_once = (self.client.max_connections() / 4).clamp(1, MOST_AT_ONCE);
        let missing = self.still_missing(&lacking);
        passes.retain(|server, _| missing.contains_key(server));
        let searches = missing.into_iter().map(|(server, keys)| {
            let pass = passes.remove(&server);
            (server, keys, pass)
        });
        futures_util::stream::iter(searches)
            .for_each_concurrent(at_once, |(server, keys, pass)| async move {
                self.ask_itself(&server, patience).await;
                asked.store(true, Ordering::Relaxed);
                let wanted = Wanted::from([(server, keys)]);
                if !many {
                    self.ask_trusted(&wanted).await;
                }
                self.note_missing(&wanted);
                drop(pass);
            })
            .await;
        Ok(())
    }

    /// Waits for the turn of a search; ourselves always have one.
    async fn turn(&self, asker: Asker) -> Result<Option<strangers::Turn>, TooManySearches> {
        match asker {
            Asker::Ourselves => Ok(None),
            Asker::Stranger(source) => self.strangers.turn(source).await.map(Some),
        }
    }

    fn note_missing(&self, wanted: &Wanted) {
        for (server, keys) in self.still_missing(wanted) {
            for (key_id, at_ms) in keys {
                self.memory.set_missing(server.as_str(), &key_id, at_ms);
            }
        }
    }

    /// By server and key, without our own and without what names no server.
    fn sorted_out(&self, wanted: &[WantedKey]) -> Wanted {
        let mut sorted = Wanted::new();
        for WantedKey { server, key_id, at_ms } in wanted {
            let Ok(server) = ServerName::try_from(server.as_str()) else { continue };
            if server != self.server_name {
                let since = sorted.entry(server).or_default().entry(key_id.clone()).or_default();
                *since = (*since).max(*at_ms);
            }
        }
        sorted
    }

    async fn read_stored(&self, wanted: &Wanted) {
        let names = wanted.keys().map(ServerName::as_str).filter(|server| self.memory.of(server).is_none());
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
            self.memory.add(name, keys);
        }
    }

    fn worth_looking_for(&self, wanted: &Wanted) -> Wanted {
        let mut lacking = self.still_missing(wanted);
        lacking.retain(|server, keys| {
            keys.retain(|key_id, at_ms| !self.memory.is_missing(server.as_str(), key_id, *at_ms));
            !keys.is_empty() && self.client.is_allowed(server)
        });
        lacking
    }
}
