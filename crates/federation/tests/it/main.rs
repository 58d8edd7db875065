//! Several servers, each with rooms and what receives and serves their events.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test panics where it fails")]

mod faults;
#[path = "../../../rooms/tests/it/fixture.rs"]
#[expect(dead_code, reason = "of the fixture, only the requests are used here")]
mod fixture;
#[path = "../../../rooms/tests/it/follower.rs"]
#[expect(dead_code, reason = "the writer is here to compare with")]
mod follower;
#[path = "../../../rooms/tests/it/found_by_time.rs"]
mod found_by_time;
mod simulation;
