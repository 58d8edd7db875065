//! The room engine over both databases.

#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod acl;
mod deactivated;
mod directory;
mod fixture;
#[expect(dead_code, reason = "the writer is here to compare with")]
mod follower;
mod following;
mod found_by_time;
mod guests;
mod loaded_twice;
mod membership;
mod redaction;
mod relations;
mod reload;
mod sending;
mod snapshots;
mod times;
mod upgrading;
mod visibility;
