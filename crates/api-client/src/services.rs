//! What endpoints may ask for by `State<Type>`: a handler's parameters are its only powers.

use std::sync::Arc;

use plexus_accounts::{
    Deactivation, DeviceKeys, Devices, KeyBackups, Logins, Registrar, Sessions, Settings, TokenChecker,
    UserInteractiveAuth,
};
use plexus_base::config::Config;
use plexus_base::{Clock, Random};
use plexus_media::MediaStore;
use plexus_store::Database;

use crate::rate_limits::RateLimits;

plexus_http::services! {
    /// Everything the client-server API's endpoints stand on; built by the server's `wire.rs`.
    pub struct Services {
        pub config: Arc<Config>,
        pub clock: Clock,
        pub random: Random,
        pub database: Database,
        pub tokens: Arc<TokenChecker>,
        pub account_settings: Arc<Settings>,
        pub sessions: Sessions,
        pub registrar: Registrar,
        pub logins: Logins,
        pub uia: UserInteractiveAuth,
        pub devices: Devices,
        pub deactivation: Deactivation,
        pub device_keys: DeviceKeys,
        pub key_backups: KeyBackups,
        pub rate_limits: Arc<RateLimits>,
        pub media: Arc<MediaStore>,
    }
}
