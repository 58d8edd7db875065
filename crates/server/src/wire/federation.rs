//! What other servers may ask, and what is known of them.

use std::collections::HashSet;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use plexus_api_federation::{OwnKeys, Services};
use plexus_base::Clock;
use plexus_base::config::Config;
use plexus_http::{OtherServers, SignedRequests};
use plexus_protocol::event::sign::{PublicKey, SigningKey};
use plexus_protocol::id::ServerName;

/// Builds what the server-server API stands on.
pub fn build(config: &Arc<Config>, clock: &Clock, server_name: &ServerName, signing_key: &Arc<SigningKey>) -> Services {
    let whitelist = &config.federation.federation_domain_whitelist;
    let others = Others { whitelist: whitelist.as_ref().map(|names| names.iter().cloned().collect()) };
    let own_keys = OwnKeys::new(server_name.clone(), Arc::clone(signing_key), &config.keys, clock.clone());
    Services {
        config: Arc::clone(config),
        clock: clock.clone(),
        server_name: server_name.clone(),
        signed_requests: Arc::new(SignedRequests::new(server_name.clone(), Arc::new(others))),
        own_keys: Arc::new(own_keys),
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
