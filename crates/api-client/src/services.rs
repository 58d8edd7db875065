//! What endpoints may ask for by `State<Type>`: a handler's parameters are its only powers.

use std::sync::Arc;

use plexus_accounts::TokenChecker;
use plexus_base::config::Config;
use plexus_base::{Clock, Random};
use plexus_store::Database;

plexus_http::services! {
    /// Everything the client-server API's endpoints stand on; built by the server's `wire.rs`.
    pub struct Services {
        pub config: Arc<Config>,
        pub clock: Clock,
        pub random: Random,
        pub database: Database,
        pub tokens: Arc<TokenChecker>,
    }
}
