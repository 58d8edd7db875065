//! The room engine over both databases.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test panics where it fails")]

mod acl;
mod directory;
mod fixture;
mod guests;
mod membership;
mod redaction;
mod relations;
mod reload;
mod sending;
mod simulation;
mod snapshots;
mod times;
mod visibility;
