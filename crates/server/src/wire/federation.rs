//! Other servers: what they may ask, what is asked of them, and what is known of them.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use plexus_api_federation::{BroughtInvites, OwnKeys};
use plexus_base::config::Config;
use plexus_base::{Clock, Random};
use plexus_delivery::EduReceiver;
use plexus_http::{FoundKeys, OtherServers, SignedRequests};
use plexus_net::dns::SystemNames;
use plexus_net::federation::{FederationParts, KeyRingParts};
use plexus_net::{FederationClient, KeyRing, TooManySearches};
use plexus_protocol::event::sign::{KnownKey, PublicKey, SigningKey};
use plexus_protocol::id::ServerName;
use plexus_rooms::inbox::Inbox;
use plexus_store::Database;
use tokio::task::JoinSet;

use super::settings;
use crate::serve::StartError;

/// What federation is built from.
pub(super) struct Ground<'a> {
    pub(super) config: &'a Arc<Config>,
    pub(super) clock: &'a Clock,
    pub(super) random: &'a Random,
    pub(super) db: &'a Database,
    pub(super) server_name: &'a ServerName,
    pub(super) signing_key: &'a Arc<SigningKey>,
    pub(super) background: &'a mut JoinSet<()>,
}

/// What asks other servers.
pub(super) struct Outgoing {
    /// Sends requests to other servers.
    pub(super) client: Arc<FederationClient>,
    /// Finds their keys.
    pub(super) key_ring: Arc<KeyRing>,
}

/// Builds what asks other servers.
pub(super) async fn outgoing(ground: Ground<'_>) -> Result<Outgoing, StartError> {
    let Ground { config, clock, random, db, server_name, signing_key, background } = ground;
    let parts = FederationParts {
        settings: settings::federation(config, server_name.clone()),
        signing_key: Arc::clone(signing_key),
        names: Arc::new(SystemNames::default()),
        db: db.clone(),
        clock: clock.clone(),
        random: random.clone(),
    };
    let client = Arc::new(FederationClient::start(parts).await?);
    background.spawn(Arc::clone(&client).run_housekeeping());
    let key_ring = KeyRing::new(KeyRingParts {
        server_name: server_name.clone(),
        signing_key: Arc::clone(signing_key),
        own_keys: own_keys(config, signing_key)?,
        trusted: settings::trusted_key_servers(config)?,
        client: Arc::clone(&client),
        db: db.clone(),
        clock: clock.clone(),
    });
    Ok(Outgoing { client, key_ring: Arc::new(key_ring) })
}

/// What the server-server API stands on: mostly what the client-server API does.
pub fn services(
    shared: &plexus_api_client::Services,
    server_name: ServerName,
    signing_key: Arc<SigningKey>,
    outgoing: &Outgoing,
    (inbox, edus): (Arc<Inbox>, Arc<EduReceiver>),
) -> plexus_api_federation::Services {
    let config = Arc::clone(&shared.config);
    let others = Others { client: Arc::clone(&outgoing.client), key_ring: Arc::clone(&outgoing.key_ring) };
    let own_keys = OwnKeys::new(server_name.clone(), signing_key, &config.keys, shared.clock.clone());
    plexus_api_federation::Services {
        clock: shared.clock.clone(),
        random: shared.random.clone(),
        signed_requests: Arc::new(SignedRequests::new(
            server_name.clone(),
            Arc::new(others),
            &config.ratelimits.rc_federation,
            shared.clock.clone(),
        )),
        server_name,
        own_keys: Arc::new(own_keys),
        key_ring: Arc::clone(&outgoing.key_ring),
        sessions: shared.sessions.clone(),
        device_keys: shared.device_keys.clone(),
        rooms: Arc::clone(&shared.rooms),
        room_resolver: Arc::clone(&shared.room_resolver),
        receiver: Arc::clone(inbox.receiver()),
        inbox,
        edus,
        profiles: Arc::clone(&shared.profiles),
        membership_changer: Arc::clone(&shared.membership_changer),
        media: Arc::clone(&shared.media),
        brought_invites: Arc::new(BroughtInvites::new(&shared.clock)),
        config,
    }
}

/// This server's keys, with which its own events are checked when they come back.
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

/// Other servers, as checking their requests sees them.
struct Others {
    client: Arc<FederationClient>,
    key_ring: Arc<KeyRing>,
}

impl OtherServers for Others {
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
