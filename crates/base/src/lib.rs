//! Foundations of every other crate: time, randomness, configuration, logging and background work.
//!
//! - [`appservices`]: application services, from their registration files
//! - [`background`]: supervised background tasks
//! - [`clock`]: the time of day and elapsed time, as an argument
//! - [`config`]: homeserver.yaml, with all options of Synapse
//! - [`forward_proxy`]: how forward proxies are named, and what is reached without them
//! - [`keyed_locks`]: locks by key
//! - [`long_poll`]: requests that wait, and how they end when their connection is needed
//! - [`private`]: files that only their owner can read
//! - [`random`]: randomness, as an argument
//! - [`rate_limiter`]: limits on how often a key may act
//! - [`shutdown`]: the end of the process, as an argument
//! - [`telemetry`]: logs, their levels and destinations
//! - [`tls`]: verification of servers' certificates
//! - [`yaml`]: YAML trees with line numbers, by the rules of Synapse's parser

#![warn(missing_docs, unreachable_pub)]

pub mod appservices;
pub mod background;
pub mod clock;
pub mod config;
pub mod forward_proxy;
pub mod keyed_locks;
pub mod long_poll;
pub mod private;
pub mod random;
pub mod rate_limiter;
mod schema;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod yaml;

pub use appservices::{AppService, AppServices, Registrations};
pub use background::Background;
pub use clock::Clock;
pub use keyed_locks::KeyedLocks;
pub use long_poll::LongPoll;
pub use random::Random;
pub use rate_limiter::{LimitExceeded, RateLimiter, Reservation};
pub use schema::parse_duration;
pub use shutdown::Shutdown;
