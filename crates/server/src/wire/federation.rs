//! What other servers may ask, and what is known of them.

use std::collections::HashSet;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use plexus_api_federation::OwnKeys;
use plexus_http::{OtherServers, SignedRequests};
use plexus_protocol::event::sign::{PublicKey, SigningKey};
use plexus_protocol::id::ServerName;

/// What the server-server API stands on: mostly what the client-server API does.
pub fn services(
    shared: &plexus_api_client::Services,
    server_name: ServerName,
    signing_key: Arc<SigningKey>,
) -> plexus_api_federation::Services {
    let config = Arc::clone(&shared.config);
    let whitelist = &config.federation.federation_domain_whitelist;
    let others = Others { whitelist: whitelist.as_ref().map(|names| names.iter().cloned().collect()) };
    let own_keys = OwnKeys::new(server_name.clone(), signing_key, &config.keys, shared.clock.clone());
    plexus_api_federation::Services {
        random: shared.random.clone(),
        signed_requests: Arc::new(SignedRequests::new(server_name.clone(), Arc::new(others))),
        server_name,
        own_keys: Arc::new(own_keys),
        sessions: shared.sessions.clone(),
        device_keys: shared.device_keys.clone(),
        rooms: Arc::clone(&shared.rooms),
        profiles: Arc::clone(&shared.profiles),
        media: Arc::clone(&shared.media),
        config,
    }
}

/// Servers whose keys are not known: none of their requests is believed.
struct Others {
    whitelist: Option<HashSet<String>>,
}

impl OtherServers for Others {
    fn key<'a>(
        &'a self,
        _server: &'a ServerName,
        _key_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Option<PublicKey>> + Send + 'a>> {
        Box::pin(ready(None))
    }

    fn is_allowed(&self, server: &ServerName) -> bool {
        self.whitelist.as_ref().is_none_or(|allowed| allowed.contains(server.as_str()))
    }

    fn heard_from(&self, _server: &ServerName) {}
}
