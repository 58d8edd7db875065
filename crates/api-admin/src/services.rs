//! What endpoints may ask for by `State<Type>`.

use std::sync::Arc;

use plexus_accounts::{Registrar, SharedSecret};
use plexus_protocol::id::ServerName;
use plexus_rooms::AutoJoin;

plexus_http::services! {
    /// Everything the admin API's endpoints stand on; built by the server's `wire.rs`.
    pub struct Services {
        pub server_name: ServerName,
        pub registrar: Registrar,
        pub shared_secret: Arc<SharedSecret>,
        pub auto_join: Arc<AutoJoin>,
    }
}
