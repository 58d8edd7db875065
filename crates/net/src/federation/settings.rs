//! What the federation client is built from.

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
    /// The only servers to speak with; all when `None`.
    pub allowed: Option<HashSet<String>>,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How often and when requests are tried again.
    pub retries: Retries,
    /// How long servers that fail are left alone.
    pub backoff: Backoff,
}

/// How often and when requests are tried again.
#[derive(Debug, Clone)]
pub struct Retries {
    /// How often a call tries again.
    pub short: u32,
    /// The longest pause then.
    pub short_delay: Duration,
    /// How often a destination of [`Patience::Persistent`](crate::Patience::Persistent) is tried again after that.
    pub long: u32,
    /// The longest pause before each of these.
    pub long_delay: Duration,
}

/// How long servers that fail are left alone.
#[derive(Debug, Clone)]
pub struct Backoff {
    /// After the first failure.
    pub shortest: Duration,
    /// By how much that grows with each failure.
    pub multiplier: u32,
    /// How long it can become.
    pub longest: Duration,
}

/// What the federation client works with.
#[derive(Clone)]
pub struct FederationParts {
    /// What it takes from the configuration.
    pub settings: FederationSettings,
    /// The key that requests are signed with.
    pub signing_key: Arc<SigningKey>,
    /// Sends the requests.
    pub http: Arc<HttpClient>,
    /// Where it is kept which servers fail.
    pub db: Database,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    pub background: Background,
}
