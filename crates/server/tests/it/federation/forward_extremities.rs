//! Rooms with many forward extremities, which an empty event merges.

use std::time::Duration;

use plexus_base::Clock;
use plexus_protocol::event::Pdu;
use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{BigRoom, RoomHost, places, unique_name};
use serde_json::{Value, json};

use super::away::CLIENT;
use super::{json_of, make, path};
use crate::client::{next_batch, room_path, say, sync};

const START_MS: u64 = 1_700_000_100_000;
const DUMMY: &str = "org.matrix.dummy_event";

/// A message of the host's room, and as many events as asked for that follow nothing but it.
fn forks(host: &RoomHost, count: usize) -> Vec<Pdu> {
    let first = host.room.send(&host.room.creator(), "m.room.message", None, json!({ "body": "first" }));
    let after = [first.event_id().clone()];
    let fork = |number: usize| {
        let content = json!({ "msgtype": "m.text", "body": format!("fork {number}") });
        host.room.send_after(&after, &host.room.creator(), "m.room.message", None, &content)
    };
    let forks: Vec<Pdu> = (0..count).map(fork).collect();
    [vec![first], forks].concat()
}

async fn deliver(server: &TestServer, host: &RoomHost, pdus: &[Pdu]) {
    let events: Vec<Value> = pdus.iter().map(json_of).collect();
    let transaction = json!({ "origin": host.peer.name().as_str(), "origin_server_ts": 0, "pdus": events });
    host.peer.put(server, &path("v1/send", &[&unique_name()]), transaction).await.ok();
}

/// The events that the next event of the room would follow.
async fn prev_events(server: &TestServer, host: &RoomHost) -> Vec<String> {
    let (room, creator) = (host.room.id().to_string(), host.room.creator().to_string());
    let template = make(server, &host.peer, "leave", &room, &creator).await;
    let ids = template.ok()["event"]["prev_events"].as_array().cloned().unwrap_or_default();
    ids.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn messages(server: &TestServer, alice: &TestUser, room: &str) -> Value {
    server.get(&room_path(room, "messages?dir=b&limit=50"), &alice.token).await.ok().clone()
}

/// What clients read in place of the event with this id.
async fn assert_hidden(server: &TestServer, alice: &TestUser, room: &str, dummy: &str, since: &str) {
    let quiet = sync(server, alice, Some(since), "").await;
    assert!(quiet["rooms"]["join"][room].is_null(), "{quiet:#}");
    for rest in [format!("event/{dummy}"), format!("context/{dummy}")] {
        assert_eq!(server.get(&room_path(room, &rest), &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
    }
    let list = json!({ "timeline_limit": 50, "ranges": [[0, 9]], "required_state": [] });
    let sliding = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
    let sliding = server.post(sliding, &alice.token, json!({ "lists": { "all": list } })).await.ok().clone();
    for answer in [sync(server, alice, None, "").await, sliding, messages(server, alice, room).await] {
        assert!(answer.to_string().contains("fork ") && !answer.to_string().contains(DUMMY), "{answer:#}");
    }
    let now = server.clock().now_ms();
    let near = format!("/_matrix/client/v1/rooms/{room}/timestamp_to_event?ts={now}&dir=b");
    assert_ne!(server.get(&near, &alice.token).await.ok()["event_id"], dummy);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_clients_do_not_see_merges_them() {
    for place in places() {
        let clock = Clock::manual(START_MS);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let host = BigRoom::new(2, 0).host(&[]).await;
        let room = host.room.id().to_string();
        let alice = server.register("alice").await;
        let via = format!("{CLIENT}/join/{room}?via={}", host.peer.name());
        server.post(&via, &alice.token, json!({})).await.ok();
        deliver(&server, &host, &forks(&host, 25)).await;
        let mut ticks = plexus_testkit::every(Duration::from_millis(20));
        let arrived = async {
            while messages(&server, &alice, &room).await.to_string().matches("fork ").count() < 25 {
                ticks.tick().await;
            }
        };
        plexus_testkit::within(Duration::from_secs(30), arrived).await.expect("all arrive");
        let since = sync(&server, &alice, None, "").await;
        assert_eq!(prev_events(&server, &host).await.len(), 20, "no more than an event can name");

        let merged = async {
            loop {
                clock.advance(Duration::from_secs(300));
                ticks.tick().await;
                let left = prev_events(&server, &host).await;
                if left.len() < 20 {
                    return left;
                }
            }
        };
        let left = plexus_testkit::within(Duration::from_secs(30), merged).await.expect("they are merged");
        // The five that the event could not name are still there.
        assert_eq!(left.len(), 6);
        let mut dummies = Vec::new();
        for id in &left {
            let event = host.peer.get(&server, &path("v1/event", &[id])).await.ok()["pdus"][0].clone();
            if event["type"] == DUMMY {
                assert_eq!((&event["sender"], &event["content"]), (&json!(alice.id), &json!({})));
                assert_eq!(event["prev_events"].as_array().map(Vec::len), Some(20));
                dummies.push(id.clone());
            }
        }
        let [dummy] = dummies.as_slice() else { panic!("one dummy event, not {dummies:?}") };
        assert_hidden(&server, &alice, &room, dummy, next_batch(&since)).await;

        // Others get it when they miss it.
        say(&server, &alice, &room, "hello").await;
        let contains = |body: &[u8], text: &str| String::from_utf8_lossy(body).contains(text);
        host.peer.receives(|request| request.uri.contains("/send/") && contains(&request.body, "hello")).await;
        let received = host.peer.received();
        assert!(!received.iter().any(|request| contains(&request.body, DUMMY)));
    }
}
