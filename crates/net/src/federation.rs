//! The server-server API, as the one who asks.
//!
//! - [`FederationClient`]: sends signed requests to servers by their names
//! - [`api`]: every request that is sent, under ruma's module paths
//! - [`KeyRing`]: the keys that other servers sign with

mod answer;
pub mod api;
mod call;
mod client;
mod connector;
mod destinations;
mod discovery;
mod error;
mod exchange;
mod gates;
mod keys;
mod lease;
mod pool;
mod settings;
mod web;

pub use answer::StreamedAnswer;
pub use call::{Call, Patience};
pub use client::{FederationClient, FederationSetupError};
pub use destinations::CameBack;
pub use error::{ConnectError, FederationError};
pub use gates::{Gates, Pass};
pub use keys::{KeyRing, KeyRingParts, NotSigned, TooManySearches, TrustedKeyServer, WantedKey};
pub use settings::{Backoff, FederationParts, FederationSettings, Retries};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use plexus_protocol::id::ServerName;

    use super::*;
    use crate::Purpose;

    /// Compiles, or whoever spawns such a call does not.
    #[expect(dead_code, reason = "it is there to be compiled")]
    fn calls_can_be_spawned(client: &FederationClient, keys: &KeyRing, server: &ServerName) {
        fn boxed<'a>(_: impl Future<Output: Send> + Send + 'a) {}
        boxed(client.call(server, Call::get("/")));
        boxed(client.stream(server, Call::get("/")));
        boxed(client.fetch(Purpose::RemoteMedia, server, "", Duration::ZERO, 0));
        boxed(keys.keys(&[]));
        boxed(keys.keys_of_request(server, &std::collections::BTreeSet::new(), None));
    }
}
