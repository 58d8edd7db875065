//! Federation: verifying requests of other servers, sending requests to them, and their keys.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use plexus_base::Background;
use plexus_base::config::Config;
use plexus_base::forward_proxy::ForwardProxies;
use plexus_http::{FoundKeys, OtherServers};
use plexus_net::dns::SystemNames;
use plexus_net::federation::{FederationParts, KeyRingParts};
use plexus_net::{AppServiceClient, FederationClient, HttpClient, KeyRing, PolicyHooks, TooManySearches};
use plexus_protocol::event::sign::{KnownKey, PublicKey, SigningKey};
use plexus_protocol::id::ServerName;

use super::foundation::Foundation;
use super::settings;
use crate::start_error::StartError;

/// The services that send requests to other servers.
pub(super) struct Outgoing {
    /// Sends requests to other servers.
    pub(super) client: Arc<FederationClient>,
    /// Finds the keys of other servers.
    pub(super) key_ring: Arc<KeyRing>,
    pub(super) http: Arc<HttpClient>,
    /// Sends requests to application services.
    pub(super) app_services: AppServiceClient,
    /// Asks policy hooks, if there are any.
    pub(super) policy_hooks: Option<Arc<PolicyHooks>>,
}

impl Outgoing {
    pub(super) async fn build(foundation: &Foundation) -> Result<Self, StartError> {
        let Foundation { config, clock, random, database, server_name, signing_key, background, .. } = foundation;
        let names = Arc::new(SystemNames::default());
        let http = settings::http(config);
        log_proxies(&http.proxies);
        let http = Arc::new(HttpClient::new(&http, names, clock.clone())?);
        let parts = FederationParts {
            settings: settings::federation(config, server_name.clone()),
            signing_key: Arc::clone(signing_key),
            http: Arc::clone(&http),
            db: database.clone(),
            clock: clock.clone(),
            random: random.clone(),
            background: background.clone(),
        };
        let client = Arc::new(FederationClient::start(parts).await?);
        let key_ring = KeyRing::new(KeyRingParts {
            server_name: server_name.clone(),
            signing_key: Arc::clone(signing_key),
            own_keys: own_keys(config, signing_key)?,
            trusted: settings::trusted_key_servers(config)?,
            client: Arc::clone(&client),
            db: database.clone(),
            clock: clock.clone(),
        });
        let legacy = config.api.use_appservice_legacy_authorization;
        let app_services = AppServiceClient::new(Arc::clone(&http), legacy);
        let hooks = config.policy_hooks().map_err(StartError::PolicyHook)?;
        let policy_hooks = PolicyHooks::new(hooks, &http, background, clock.clone(), random.clone());
        Ok(Self { client, key_ring: Arc::new(key_ring), http, app_services, policy_hooks })
    }

    pub(super) fn start_background(&self, background: &Background) {
        background.spawn_abortable("housekeeping of connections", Arc::clone(&self.http).run_housekeeping());
        if let Some(hooks) = &self.policy_hooks {
            background.spawn_abortable("pings of policy hooks", Arc::clone(hooks).run_pings());
        }
    }
}

fn log_proxies(proxies: &ForwardProxies) {
    for (scheme, proxy) in [("http", &proxies.http), ("https", &proxies.https)] {
        if let Some(proxy) = proxy {
            tracing::info!("requests to {scheme} addresses go through the proxy {proxy}");
        }
    }
}

/// Returns this server's keys, with which its own events are checked when other servers send them.
fn own_keys(config: &Config, signing_key: &SigningKey) -> Result<HashMap<String, KnownKey>, StartError> {
    let current = KnownKey { key: signing_key.public_key(), valid_until_ts: u64::MAX };
    let mut keys = HashMap::from([(signing_key.key_id().to_owned(), current)]);
    for (key_id, old) in &config.keys.old_signing_keys {
        let key = PublicKey::parse(&old.key).map_err(|source| StartError::OldKey { key_id: key_id.clone(), source })?;
        let valid_until_ts = u64::try_from(old.expired_ts).unwrap_or(0);
        keys.entry(key_id.clone()).or_insert(KnownKey { key, valid_until_ts });
    }
    Ok(keys)
}

/// Other servers, as verifying their requests needs them.
pub(super) struct KnownServers {
    client: Arc<FederationClient>,
    key_ring: Arc<KeyRing>,
}

impl KnownServers {
    pub(super) fn new(client: Arc<FederationClient>, key_ring: Arc<KeyRing>) -> Self {
        Self { client, key_ring }
    }
}

impl OtherServers for KnownServers {
    fn keys<'a>(
        &'a self,
        server: &'a ServerName,
        key_ids: BTreeSet<&'a str>,
        source: Option<IpAddr>,
    ) -> Pin<Box<dyn Future<Output = Result<FoundKeys, TooManySearches>> + Send + 'a>> {
        Box::pin(async move { self.key_ring.keys_of_request(server, &key_ids, source).await })
    }

    fn is_allowed(&self, server: &ServerName) -> bool {
        self.client.is_allowed(server)
    }

    fn heard_from(&self, server: &ServerName) {
        self.client.heard_from(server);
    }
}
