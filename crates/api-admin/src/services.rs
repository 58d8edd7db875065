//! What endpoints may ask for by `State<Type>`.

use std::sync::Arc;

use plexus_accounts::{SharedSecret, TokenChecker};
use plexus_base::{Clock, Random};
use plexus_protocol::id::ServerName;
use plexus_service::Registration;
use plexus_store::Database;

plexus_http::services! {
    /// Everything the admin API's endpoints stand on; built by the server's `wire.rs`.
    pub struct Services {
        pub server_name: ServerName,
        pub database: Database,
        pub clock: Clock,
        pub random: Random,
        pub tokens: Arc<TokenChecker>,
        pub shared_secret: Arc<SharedSecret>,
        pub registration: Registration,
    }
}
