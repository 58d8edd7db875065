//! Settings and dependencies of the federation client.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Background, Clock, Random};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_store::Database;

use crate::http::client::HttpClient;

/// What the federation client takes from the configuration.
#[derive(Debug, Clone)]
pub struct FederationSettings {
    /// This server's name.
    pub server_name: ServerName,
    /// The only servers to federate with; all when `None`.
    pub allowed: Option<HashSet<String>>,
    /// How long to wait for a response, unless the request has a timeout of its own.
    pub timeout: Duration,
    /// How often and when requests are sent again.
    pub retries: Retries,
    /// How long servers that fail are backed off.
    pub backoff: Backoff,
}

/// How often and when requests are sent again.
#[derive(Debug, Clone)]
pub struct Retries {
    /// How often a call is sent again.
    pub short: u32,
    /// The longest pause then.
    pub short_delay: Duration,
    /// How often a call of [`Patience::Persistent`](crate::Patience::Persistent) is sent again after that.
    pub long: u32,
    /// The longest pause before each of these.
    pub long_delay: Duration,
}

/// How long servers that fail are backed off.
#[derive(Debug, Clone)]
pub struct Backoff {
    /// After the first failure.
    pub shortest: Duration,
    /// By how much that grows with each failure.
    pub multiplier: u32,
    /// How long it can become.
    pub longest: Duration,
}

/// What the federation client is built from.
#[derive(Clone)]
pub struct FederationParts {
    /// Its settings.
    pub settings: FederationSettings,
    /// The key that requests are signed with.
    pub signing_key: Arc<SigningKey>,
    /// Sends the requests.
    pub http: Arc<HttpClient>,
    /// Stores which servers fail.
    pub db: Database,
    /// The clock.
    pub clock: Clock,
    /// The source of randomness.
    pub random: Random,
    /// Runs the tasks that outlive a request.
    pub background: Background,
}
