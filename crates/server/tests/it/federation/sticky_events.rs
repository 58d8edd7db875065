//! Sticky events (MSC4354) of and for other servers.

use std::time::Duration;

use plexus_base::Clock;
use plexus_protocol::event::build;
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{every, places, within};
use serde_json::{Value, json};

use super::away::{Away, bodies, say};
use super::set;
use crate::client::room_path;

const ENABLED: &str = "
experimental_features: {msc4354_enabled: true}
federation: {destination_min_retry_interval: 1s, destination_max_retry_interval: 1s,
             destination_retry_multiplier: 1, max_short_retries: 0, max_long_retries: 0}
";
const PARAMETER: &str = "org.matrix.msc4354.sticky_duration_ms";
const PATIENCE: Duration = Duration::from_secs(30);

async fn stick(server: &TestServer, user: &TestUser, room: &str, body: &str) {
    let path = room_path(room, &format!("send/m.room.message/{body}?{PARAMETER}=600000"));
    server.put(&path, &user.token, json!({ "msgtype": "m.text", "body": body })).await.ok();
}

#[tokio::test]
async fn a_server_that_comes_into_a_room_gets_what_is_sticky() {
    for place in places() {
        let server = TestServer::on(place).config(ENABLED).start().await;
        let alice = server.register("alice").await;
        let (here, new) = (Away::start().await, Away::start().await);
        let room = here.room(&server, &alice).await;
        stick(&server, &alice, &room, "sticky").await;
        say(&server, &alice, &room, "ordinary").await;
        assert_eq!(here.messages(2).await, ["sticky", "ordinary"]);
        new.member(&server, &alice, &room, "join").await;
        say(&server, &alice, &room, "later").await;
        assert_eq!(new.messages(2).await, ["sticky", "later"]);
        // The other server does not get it once more.
        assert_eq!(here.messages(3).await, ["sticky", "ordinary", "later"]);
    }
}

#[tokio::test]
async fn a_server_that_was_away_for_long_gets_what_is_sticky() {
    for place in places() {
        let server = TestServer::on(place).config(ENABLED).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        away.fail(true);
        say(&server, &alice, &room, "before").await;
        away.until(|transactions| transactions.iter().any(|it| !it.taken)).await;
        stick(&server, &alice, &room, "sticky").await;
        for number in 0..210 {
            say(&server, &alice, &room, &number.to_string()).await;
        }
        say(&server, &alice, &room, "newest").await;
        away.fail(false);
        let transactions = away.until(|transactions| bodies(transactions).iter().any(|body| body == "newest")).await;
        let arrived = bodies(&transactions);
        assert!(arrived.contains(&"sticky".to_owned()) && arrived.len() < 100, "{arrived:?}");
    }
}

/// A sticky message of Bob's after the newest event that Alice sees, as the room's state is now.
async fn message_of_bob(away: &Away, server: &TestServer, alice: &TestUser, room: &str, sent_ts: u64) -> Value {
    let state = server.get(&room_path(room, "state"), &alice.token).await.ok().clone();
    let id = |event_type: &str, key: &str| {
        let mut events = state.as_array().unwrap().iter();
        let found = events.find(|event| event["type"] == event_type && event["state_key"] == key);
        found.map(|event| event["event_id"].clone()).unwrap()
    };
    let auth = [id("m.room.create", ""), id("m.room.power_levels", ""), id("m.room.member", &away.bob)];
    let newest = server.get(&room_path(room, "messages?dir=b&limit=1"), &alice.token).await.ok().clone();
    let event = json!({
        "room_id": room,
        "sender": away.bob,
        "type": "m.room.message",
        "content": { "msgtype": "m.text", "body": "sticky" },
        "msc4354_sticky": { "duration_ms": 600_000 },
        "prev_events": [newest["chunk"][0]["event_id"]],
        "auth_events": auth,
        "depth": 200,
        "origin_server_ts": sent_ts,
    });
    let event = Object::parse(&event.to_string()).unwrap();
    let pdu = build::finish(event, RoomVersion::V11, away.peer.key(), away.peer.name()).unwrap();
    serde_json::from_str(pdu.json()).unwrap()
}

#[tokio::test]
async fn the_time_that_is_left_of_an_event_of_the_future_runs_down() {
    for place in places() {
        let clock = Clock::manual(1_800_000_000_000);
        let mut server = TestServer::on(place).config(ENABLED).clock(clock.clone()).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let message = message_of_bob(&away, &server, &alice, &room, clock.now_ms() + 3_600_000).await;
        away.send(&server, "sticky", vec![message], Vec::new()).await.ok();
        let left = async |server: &TestServer| {
            let mut ticks = every(Duration::from_millis(10));
            let newest = async {
                loop {
                    let path = room_path(&room, "messages?dir=b&limit=1");
                    let newest = server.get(&path, &alice.token).await.ok()["chunk"][0].clone();
                    if newest["content"]["body"] == "sticky" {
                        return newest;
                    }
                    ticks.tick().await;
                }
            };
            let newest = within(PATIENCE, newest).await.expect("the event comes");
            newest["unsigned"]["msc4354_sticky_duration_ttl_ms"].clone()
        };
        assert_eq!(left(&server).await, 600_000);
        clock.advance(Duration::from_secs(200));
        assert_eq!(left(&server).await, 400_000);
        server.restart().await;
        assert_eq!(left(&server).await, 400_000, "read from the database");
        clock.advance(Duration::from_secs(400));
        assert_eq!(left(&server).await, json!(null));
    }
}

#[tokio::test]
async fn a_soft_failed_event_comes_when_the_state_allows_it() {
    for place in places() {
        let server = TestServer::on(place).config(ENABLED).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let message = message_of_bob(&away, &server, &alice, &room, server.clock().now_ms()).await;
        let levels = |events_default: u32| json!({ "users": { &alice.id: 100 }, "events_default": events_default });
        set(&server, &alice, &room, "m.room.power_levels", levels(50)).await;
        let since = server.get("/_matrix/client/v3/sync", &alice.token).await.ok()["next_batch"].clone();
        away.send(&server, "sticky", vec![message], Vec::new()).await.ok();
        // Another event of Bob's comes after it.
        away.member(&server, &alice, &room, "join").await;
        let path = format!("/_matrix/client/v3/sync?since={}", since.as_str().unwrap());
        let sticky = |sync: &Value| {
            let events = &sync["rooms"]["join"][&room]["msc4354_sticky"]["events"];
            events.as_array().is_some_and(|events| events[0]["content"]["body"] == "sticky")
        };
        assert!(!sticky(server.get(&path, &alice.token).await.ok()));
        set(&server, &alice, &room, "m.room.power_levels", levels(0)).await;
        let mut ticks = every(Duration::from_millis(10));
        let wait = async {
            while !sticky(server.get(&path, &alice.token).await.ok()) {
                ticks.tick().await;
            }
        };
        within(PATIENCE, wait).await.expect("the event comes");
    }
}
