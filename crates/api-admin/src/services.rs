//! The services that endpoints may use by `State<Type>`.

use std::sync::Arc;

use plexus_accounts::{SharedSecret, TokenChecker};
use plexus_base::{Clock, Random};
use plexus_protocol::id::ServerName;
use plexus_service::{Registration, ServerNotices};
use plexus_store::Database;

plexus_http::services! {
    /// All services of the admin API's endpoints; the server's `wire` builds them.
    #[expect(missing_docs, reason = "a field has the name of its type")]
    pub struct Services {
        pub server_name: ServerName,
        pub database: Database,
        pub clock: Clock,
        pub random: Random,
        pub tokens: Arc<TokenChecker>,
        pub shared_secret: Arc<SharedSecret>,
        pub server_notices: Option<Arc<ServerNotices>>,
        pub registration: Registration,
    }
}
