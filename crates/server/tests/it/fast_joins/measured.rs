//! What joining a large room costs the real program. Not run unless asked for:
//!
//!     cargo test -p plexus-server --test it fast_joins::measured -- --ignored --nocapture
//!
//! `PLEXUS_BINARY` names another build of the program, `PLEXUS_JOIN_MEMBERS` and `PLEXUS_JOIN_STATE` the room's size.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plexus_testkit::{Client, TestPlace};

use super::*;
use crate::binary::{Installation, Server};

/// No more than this may the process grow by, in MiB.
const MOST_MEMORY: u64 = 300;

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// How long each message took that was sent until `done`.
async fn chatter(client: Client, user: TestUser, room: String, done: Arc<AtomicBool>) -> Vec<Duration> {
    let (mut taken, clock) = (Vec::new(), Clock::system());
    while !done.load(Ordering::Relaxed) {
        let began = clock.monotonic();
        let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{}", unique_name());
        client.put(&path, &user.token, json!({ "msgtype": "m.text", "body": "meanwhile" })).await.ok();
        taken.push(clock.monotonic() - began);
        clock.sleep(Duration::from_millis(5)).await;
    }
    taken
}

async fn measure(place: TestPlace, omits_members: bool) {
    let size = BigRoom::new(number("PLEXUS_JOIN_MEMBERS", 20_000), number("PLEXUS_JOIN_STATE", 30_000));
    let host = size.host(&[]).await;
    host.room.set_ways(|ways| ways.omits_members = omits_members);
    let installation = Installation::new();
    installation.add(&place.homeserver_yaml());
    installation.add(
        "\nenable_registration: true\nenable_registration_without_verification: true\n\
         ip_range_whitelist: ['127.0.0.0/8']\nfederation_verify_certificates: false\ntrusted_key_servers: []\n\
         rc_message: {per_second: 10000, burst_count: 100000}\n\
         rc_registration: {per_second: 1000, burst_count: 1000}\n",
    );
    let binary = std::env::var_os("PLEXUS_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_plexus").into());
    // Nobody reads what it says until it is stopped, and it has much to say.
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" "$@" 2>/dev/null"#]).arg(binary);
    command.args(["serve", "--config-path"]).arg(installation.yaml());
    command.env("RUST_LOG", "warn");
    let server = Server::spawn(command, &installation.folder);
    let client = Client::new(format!("http://127.0.0.1:{}", installation.port));
    let (alice, bob) = (client.register("alice").await, client.register("bob").await);
    let made = client.post("/_matrix/client/v3/createRoom", &bob.token, json!({})).await;
    let room = made.ok()["room_id"].as_str().unwrap_or_default().to_owned();
    let done = Arc::new(AtomicBool::new(false));
    let talking = tokio::spawn(chatter(client.clone(), bob, room, Arc::clone(&done)));
    let (before, clock) = (server.memory("VmRSS"), Clock::system());
    let (asking, path, token) = (client.clone(), join_path(&host), alice.token.clone());
    // In a build for debugging the client may give up first; the join goes on.
    drop(tokio::spawn(async move { asking.post(&path, &token, json!({})).await }));
    let in_room = async || {
        let rooms = client.get("/_matrix/client/v3/joined_rooms", &alice.token).await;
        rooms.ok()["joined_rooms"].as_array().is_some_and(|rooms| !rooms.is_empty())
    };
    while !in_room().await {
        clock.sleep(Duration::from_millis(20)).await;
    }
    let joined = clock.monotonic();
    // Waits until all of the state is here.
    client.get(&super::client(&host, "state/m.room.member/@nobody:nowhere.example"), &alice.token).await;
    let full = clock.monotonic();
    done.store(true, Ordering::Relaxed);
    let mut waits = talking.await.expect("somebody talks");
    waits.sort_unstable();
    let peak = server.memory("VmHWM");
    let kind = place.args().keys().cloned().collect::<Vec<_>>().join(",");
    println!(
        "{} members, {} state events, omit {omits_members}, [{kind}]: joined after {joined:.2?}, full after \
         {full:.2?}; memory {before} -> {peak} MiB; messages in another room: median {:.1?}, longest {:.1?}",
        size.members,
        size.state_events,
        waits.get(waits.len() / 2).copied().unwrap_or_default(),
        waits.last().copied().unwrap_or_default(),
    );
    assert!(peak - before < MOST_MEMORY, "the process has grown by {} MiB", peak - before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_large_join() {
    for omits_members in [false, true] {
        for place in places() {
            measure(place, omits_members).await;
        }
    }
}
