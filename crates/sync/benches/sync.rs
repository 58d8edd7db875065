//! Figures for /sync without HTTP, on SQLite: nothing new, initial syncs of many rooms, fan-out in one room.
//!
//! `cargo bench -p plexus-sync --bench sync`; docs/benchmarks.md holds figures and the machine they came from.
#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark panics where it fails")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/support.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use plexus_rooms::Room;
use plexus_testkit::TestPlace;
use tokio::task::JoinSet;

use support::{ALICE, BOB, Server, request, user};

const ROOMS: usize = 1_000;
const IDLE_SYNCS: u32 = 50_000;
const FAN_OUT: [usize; 3] = [50, 1_000, 10_000];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        many_rooms().await;
        for users in FAN_OUT {
            fan_out(users).await;
        }
    });
}

async fn many_rooms() {
    let database = TestPlace::sqlite().open();
    let server = Server::new(database.db());
    for _ in 0..ROOMS {
        let room = server.room(ALICE).await;
        server.join(&room, BOB).await;
        server.send(&room, ALICE, "hello").await;
    }
    report(&format!("initial sync of {ROOMS} rooms, from memory"), initial(&server).await);
    let server = server.restarted();
    report(&format!("initial sync of {ROOMS} rooms, right after a start"), initial(&server).await);
    report(&format!("initial sync of {ROOMS} rooms, again"), initial(&server).await);

    let mut bob = server.client(BOB);
    bob.sync().await;
    let idle = bob.next_request(Duration::ZERO);
    let started = Instant::now();
    for _ in 0..IDLE_SYNCS {
        server.engine.sync(idle.clone()).await.expect("an answer");
    }
    report(&format!("incremental sync with nothing new, {ROOMS} rooms"), started.elapsed() / IDLE_SYNCS);
}

async fn initial(server: &Server) -> Duration {
    let started = Instant::now();
    let body = server.engine.sync(request(BOB)).await.expect("an answer");
    assert!(body.len() > ROOMS * 1_000);
    started.elapsed()
}

/// One message to many users who wait for it, in one room.
async fn fan_out(users: usize) {
    let database = TestPlace::sqlite().open();
    let server = Server::new(database.db());
    let room = server.room(ALICE).await;
    let mut tokens = Vec::new();
    for number in 0..users {
        let name = format!("@user{number}:localhost");
        server.join(&room, &name).await;
        let mut client = server.client(&name);
        client = client.filter(serde_json::json!({"room": {"state": {"lazy_load_members": true}}}));
        client.sync().await;
        tokens.push(client.next_request(Duration::from_secs(3_600)));
    }
    // The first time everybody reads the joins of the users who came later.
    for round in ["first", "second"] {
        let (first, median, last) = one_message(&server, &room, &mut tokens).await;
        println!(
            "fan-out to {users} waiting users, {round} message: {first:.2?}, {median:.2?}, {last:.2?} (first, median, \
             last)"
        );
    }
}

async fn one_message(
    server: &Server,
    room: &Arc<Room>,
    requests: &mut [plexus_sync::SyncRequest],
) -> (Duration, Duration, Duration) {
    let mut waiting = JoinSet::new();
    for request in requests.iter_mut() {
        request.since = Some(format!("s{}_{}", server.db.committed(), 0).parse().expect("a token"));
        let (engine, request) = (Arc::clone(&server.engine), request.clone());
        waiting.spawn(async move {
            engine.sync(request).await.expect("an answer");
            Instant::now()
        });
    }
    while server.notifier.waiting() < requests.len() {
        tokio::task::yield_now().await;
    }
    let started = Instant::now();
    server.send(room, user(ALICE).as_str(), "hello").await;
    let mut times: Vec<Duration> = waiting.join_all().await.into_iter().map(|at| at - started).collect();
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().unwrap_or_default();
    (at(0), at(times.len() / 2), at(times.len() - 1))
}

fn report(what: &str, time: Duration) {
    println!("{what}: {time:.2?}");
}
