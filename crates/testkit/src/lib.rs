//! Fixtures for tests.
//!
//! - [`databases`]: an empty database of each backend; every store test loops over them (feature `databases`, on by
//!   default)
//! - [`account()`]: the row of a user (feature `databases`)
//! - [`postgres`]: the private PostgreSQL cluster behind that
//! - `app_service`: an application service, controlled by the test (feature `server`)
//! - `server`: a whole server in the process (feature `server`)
//! - `client`: a small client for any server (feature `server`)
//! - [`forward_proxy`]: a forward proxy
//! - `push_gateway`: a push gateway (feature `peer`)
//! - [`peer`]: another server, for federation, controlled by the test (feature `peer`)
//! - [`big_room`]: a room of any size on such another server (feature `peer`)
//! - [`crowd`]: thousands of such servers (feature `peer`)
//! - `specification`: the responses that the specification describes (feature `server`)
//! - `synapse`: a real Synapse as another server (feature `server`)
//! - `mail_server`: a real mail server (feature `server`)
//! - `link`: a network connection between servers that can be cut (feature `server`)

#![warn(missing_docs, unreachable_pub)]
#![expect(clippy::expect_used, reason = "a test panics where it fails")]
#![cfg_attr(feature = "server", expect(clippy::panic, reason = "a test panics where it fails"))]

#[cfg(feature = "databases")]
mod account;
#[cfg(feature = "server")]
pub mod app_service;
#[cfg(feature = "peer")]
pub mod big_room;
#[cfg(feature = "server")]
pub mod client;
#[cfg(feature = "peer")]
pub mod crowd;
#[cfg(feature = "databases")]
pub mod database;
pub mod forward_proxy;
#[cfg(feature = "server")]
pub mod link;
#[cfg(feature = "server")]
pub mod mail_server;
#[cfg(feature = "peer")]
pub mod peer;
#[cfg(feature = "databases")]
pub mod postgres;
#[cfg(feature = "peer")]
pub mod push_gateway;
#[cfg(feature = "server")]
pub mod s3;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod specification;
#[cfg(feature = "server")]
pub mod synapse;

#[cfg(feature = "databases")]
pub use account::account;
#[cfg(feature = "server")]
pub use app_service::{AppServiceRequest, AppServiceStub};
#[cfg(feature = "peer")]
pub use big_room::{BigRoom, HostedRoom, RoomHost};
#[cfg(feature = "server")]
pub use client::{Answer, Client, TestUser};
#[cfg(feature = "peer")]
pub use crowd::{Crowd, Manner};
#[cfg(feature = "databases")]
pub use database::{TestDatabase, TestPlace, blank_places, databases, places};
pub use forward_proxy::{ForwardProxy, ProxyConduct};
#[cfg(feature = "server")]
pub use link::Certificate;
#[cfg(feature = "server")]
pub use mail_server::MailServer;
#[cfg(feature = "peer")]
pub use peer::{AnyJson, Peer, Received};
#[cfg(feature = "peer")]
pub use push_gateway::{GatewayConduct, PushGateway};
#[cfg(feature = "server")]
pub use server::{TestServer, TestServerBuilder};
#[cfg(feature = "server")]
pub use specification::Specification;
#[cfg(feature = "server")]
pub use synapse::Synapse;

use std::time::Duration;

use tokio::time::Interval;
use tokio::time::error::Elapsed;

/// Returns a name that no other test, and no other test process, has at the same time.
pub fn unique_name() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Returns the result of `work` unless it takes longer than `limit` in real time: the bound of a test that could hang.
///
/// # Errors
/// When it takes longer.
#[expect(clippy::disallowed_methods, reason = "a test that hangs does so in real time")]
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    tokio::time::timeout(limit, Box::pin(work)).await
}

/// Ticks immediately and then in every `period` of real time, for polling another process or thread.
#[expect(clippy::disallowed_methods, reason = "what is looked at happens in real time")]
pub fn every(period: Duration) -> Interval {
    tokio::time::interval(period)
}

/// Reports, past the test harness, that tests are skipped because something is not installed.
///
/// # Panics
/// When `PLEXUS_REQUIRE_SERVICES=1`: then nothing may be skipped.
pub fn skip(what: &str, reason: &dyn std::fmt::Display) {
    use std::io::Write as _;
    assert!(
        std::env::var_os("PLEXUS_REQUIRE_SERVICES").is_none_or(|value| value != "1"),
        "PLEXUS_REQUIRE_SERVICES=1, but {what} cannot run: {reason}"
    );
    // Nothing can be done if even standard error is closed.
    drop(std::io::stderr().write_all(format!("\nSKIPPED: {what}: {reason}\n").as_bytes()));
}
