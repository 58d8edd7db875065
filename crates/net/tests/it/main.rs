//! Tests of this crate against real TLS servers on this machine.

mod answers;
mod backoff;
mod discovery;
mod keys;
mod many;
mod support;
mod trust;
