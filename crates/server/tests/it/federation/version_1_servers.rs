//! Rooms joined through a server that knows only version 1 of `send_join` and `send_leave`, and their history, which
//! only other servers have.

use std::time::Duration;

use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{BigRoom, RoomHost, within};
use serde_json::{Value, json};

use crate::client::{room_path, say};
use crate::federation::{json_of, path};

async fn enter(server: &TestServer, alice: &TestUser, host: &RoomHost) {
    let join = format!("/_matrix/client/v3/join/{}?via={}", host.room.id(), host.peer.name());
    server.post(&join, &alice.token, json!({})).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_server_that_supports_only_version_1() {
    for server in TestServer::on_each().await {
        let host = BigRoom::new(10, 20).host(&[]).await;
        host.room.set_ways(|ways| ways.only_version_1 = true);
        let alice = server.register("alice").await;
        enter(&server, &alice, &host).await;
        let room = host.room.id().as_str();
        let joined = server.get(&room_path(room, "joined_members"), &alice.token).await;
        assert_eq!(joined.ok()["joined"].as_object().map(serde_json::Map::len), Some(11));
        let asked: Vec<String> = host.peer.received().into_iter().map(|request| request.uri).collect();
        assert!(asked.iter().any(|uri| uri.contains("/v2/send_join/")), "{asked:?}");
        assert!(asked.iter().any(|uri| uri.contains("/v1/send_join/")), "{asked:?}");

        // An invite is declined in the same way.
        let bob = server.register("bob").await;
        let other = BigRoom::new(2, 8).host(&[]).await;
        other.room.set_ways(|ways| ways.only_version_1 = true);
        let content = json!({ "membership": "invite" });
        let pdu = other.room.send(&other.room.creator(), "m.room.member", Some(&bob.id), content);
        let (_, create) = other.room.events().remove(0);
        let version = other.room.version();
        let body = json!({ "room_version": version, "event": json_of(&pdu), "invite_room_state": [create] });
        let room = other.room.id().as_str();
        other.peer.put(&server, &path("v2/invite", &[room, pdu.event_id().as_str()]), body).await.ok();
        server.post(&room_path(room, "leave"), &bob.token, json!({})).await.ok();
        let left = other.peer.receives(|request| request.uri.contains("/v1/send_leave/")).await;
        let leave: Value = serde_json::from_slice(&left.body).expect("an event");
        assert_eq!((&leave["state_key"], &leave["content"]), (&json!(bob.id), &json!({ "membership": "leave" })));
    }
}

/// `GET /timestamp_to_event`
async fn near(server: &TestServer, user: &TestUser, room: &str, ts: u64, dir: &str) -> Answer {
    let path = format!("/_matrix/client/v1/rooms/{room}/timestamp_to_event?ts={ts}&dir={dir}");
    server.get(&path, &user.token).await
}

/// How often the host was asked for an event near a time.
fn asked(host: &RoomHost) -> usize {
    host.peer.received().iter().filter(|request| request.uri.contains("/timestamp_to_event/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_nearest_to_a_time_before_this_server_came() {
    for server in TestServer::on_each().await {
        let host = BigRoom::new(5, 12).host(&[]).await;
        let say = |body: &str| {
            let content = json!({ "msgtype": "m.text", "body": body });
            let pdu = host.room.send(&host.room.creator(), "m.room.message", None, content);
            (pdu.event_id().to_string(), pdu.origin_server_ts())
        };
        let (first, at) = say("first");
        for number in 0..130 {
            say(&number.to_string());
        }
        let alice = server.register("alice").await;
        enter(&server, &alice, &host).await;
        let room = host.room.id().as_str();
        let is_first = |answer: Answer| {
            assert_eq!(answer.ok(), &json!({ "event_id": first, "origin_server_ts": at }));
        };

        // Nobody gives what lies between: the event is shown all the same. A lie is not.
        host.room.set_ways(|ways| ways.refuses_history = true);
        is_first(near(&server, &alice, room, at, "f").await);
        is_first(near(&server, &alice, room, at, "b").await);
        let lie = json!({ "event_id": first, "origin_server_ts": at + 5 });
        host.room.set_ways(|ways| ways.nearest = Some(lie));
        assert_eq!(near(&server, &alice, room, at + 4, "b").await.refusal(), (404, "M_NOT_FOUND"));
        let unknown = json!({ "event_id": "$nothing", "origin_server_ts": at + 3 });
        host.room.set_ways(|ways| ways.nearest = Some(unknown));
        assert_eq!(near(&server, &alice, room, at + 4, "b").await.refusal(), (404, "M_NOT_FOUND"));
        host.room.set_ways(|ways| (ways.nearest, ways.refuses_history) = (None, false));

        // Otherwise it is here from now on, and nobody is asked any more.
        is_first(near(&server, &alice, room, at, "b").await);
        let around = server.get(&room_path(room, &format!("context/{first}?limit=2")), &alice.token).await;
        assert_eq!(around.ok()["event"]["event_id"], first.as_str());
        let so_far = asked(&host);
        is_first(near(&server, &alice, room, at, "f").await);
        is_first(near(&server, &alice, room, at, "b").await);
        // Nor about what is newer than what is here.
        assert_eq!(near(&server, &alice, room, 4_000_000_000_000, "f").await.refusal(), (404, "M_NOT_FOUND"));
        near(&server, &alice, room, 4_000_000_000_000, "b").await.ok();
        assert_eq!(asked(&host), so_far);
    }
}

/// How long the search for an event may take, with every server and every page.
const LONGEST_SEARCH: Duration = Duration::from_secs(20 + 10);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_says_what_is_nearest_is_not_waited_for() {
    let places = plexus_testkit::places().into_iter();
    futures_util::future::join_all(places.map(async |place| {
        let server = TestServer::on(place).start().await;
        let host = BigRoom::new(5, 12).host(&[]).await;
        let alice = server.register("alice").await;
        enter(&server, &alice, &host).await;
        let room = host.room.id().as_str();
        host.room.set_ways(|ways| ways.never_sends_nearest = true);
        // Before everything that is here: only the other server could know.
        let answer = within(LONGEST_SEARCH, near(&server, &alice, room, 1, "b")).await.expect("it ends");
        assert_eq!(answer.refusal(), (404, "M_NOT_FOUND"));
        assert!(asked(&host) > 0);
        // What is here is found at once, or after that wait.
        let said = say(&server, &alice, room, "here").await;
        let answer =
            within(LONGEST_SEARCH, near(&server, &alice, room, 4_000_000_000_000, "b")).await.expect("it ends");
        assert_eq!(answer.ok()["event_id"], said);
    }))
    .await;
}
