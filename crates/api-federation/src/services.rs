//! What endpoints may ask for by `State<Type>`: a handler's parameters are its only powers.

use std::sync::Arc;

use plexus_base::Clock;
use plexus_base::config::Config;
use plexus_http::SignedRequests;
use plexus_protocol::id::ServerName;

use crate::OwnKeys;

plexus_http::services! {
    /// Everything the server-server API's endpoints stand on; built by the server's `wire.rs`.
    pub struct Services {
        pub config: Arc<Config>,
        pub clock: Clock,
        pub server_name: ServerName,
        pub signed_requests: Arc<SignedRequests>,
        pub own_keys: Arc<OwnKeys>,
    }
}
