//! Generated cases: properties that must always hold, and differences from ruma, another implementation of these rules.
//!
//! A few thousand cases run with the other tests. `PLEXUS_CASES=100000 cargo test -p plexus-protocol --release --test
//! it` runs that many of each.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test panics where it fails")]

mod auth_rules;
mod generate;
mod linear;
mod oracle_push;
mod oracle_rooms;
mod properties;
mod random_room;
mod reachability;
mod resolution;
mod room;
mod ruma_pdu;
mod signatures;

/// How many cases to generate, unless `PLEXUS_CASES` is set.
fn cases() -> u64 {
    std::env::var("PLEXUS_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000)
}
