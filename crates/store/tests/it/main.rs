//! Tests of the store on every database this machine has.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test panics where it fails")]

mod applied;
mod crash;
mod group_commit;
mod kill;
mod later;
mod lost_connection;
mod maintenance;
mod migrations;
mod near_time;
mod open;
mod outgoing;
mod profiles;
mod room_purges;
mod search;
mod staged;
mod statements;
mod thread_subscriptions;
mod tls;
mod transactions;
mod trimming;
mod values;
mod wal;
