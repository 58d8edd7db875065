//! Tests of this crate against real TLS servers on this machine.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test panics where it fails")]

mod backoff;
mod discovery;
mod keys;
mod many;
mod proxy;
mod responses;
mod support;
mod trust;
