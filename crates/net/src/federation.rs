//! The client side of the server-server API.
//!
//! - [`FederationClient`]: sends signed requests to servers by their names
//! - [`api`]: every request that is sent, under ruma's module paths
//! - [`KeyRing`]: the keys that other servers sign with
//! - [`OutsideView`]: this server as others find it

pub mod api;
mod call;
mod client;
mod connect;
mod destinations;
mod discovery;
mod error;
mod gates;
mod keys;
mod outside_view;
mod response;
mod retries;
mod settings;
mod signed_request;

pub use call::{Call, Patience};
pub use client::FederationClient;
pub use destinations::CameBack;
pub use error::{FederationError, UnreachableError};
pub use gates::{Gates, Pass};
pub use keys::{KeyRing, KeyRingParts, NotSigned, TooManySearches, TrustedKeyServer, WantedKey};
pub use outside_view::{OutsideView, OutsideViewError, WellKnown};
pub use response::StreamedResponse;
pub use settings::{Backoff, FederationParts, FederationSettings, Retries};

#[cfg(test)]
mod tests {
    use http::Method;
    use plexus_protocol::id::ServerName;

    use super::*;
    use crate::http::Purpose;

    /// Compiles, or whoever spawns such a call does not.
    #[expect(dead_code, reason = "it is there to be compiled")]
    fn calls_can_be_spawned(client: &FederationClient, keys: &KeyRing, server: &ServerName) {
        fn boxed<'a>(_: impl Future<Output: Send> + Send + 'a) {}
        boxed(client.call(server, Call::new(Method::GET, "/", 0)));
        boxed(client.stream(server, Call::new(Method::GET, "/", 0)));
        boxed(client.fetch(Purpose::KeyRevocation, server, ""));
        boxed(keys.keys(&[]));
        boxed(keys.keys_of_request(server, &std::collections::BTreeSet::new(), None));
    }
}
