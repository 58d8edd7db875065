//! Joining large rooms of other servers, and rooms whose members arrive later.

mod failed;
#[path = "../../../rooms/tests/it/follower.rs"]
#[expect(dead_code, reason = "the writer's memory is the server's own")]
mod follower;
mod judged;
mod meanwhile;
mod measured;

use std::time::Duration;

use http::Method;
use plexus_base::Clock;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{ServerName, UserId};
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{BigRoom, Peer, RoomHost, places, unique_name};
use serde_json::{Value, json};

use follower::Follower;

const LAZY: &str = "&filter=%7B%22room%22:%7B%22state%22:%7B%22lazy_load_members%22:true%7D%7D%7D";

/// The path by which a client joins the room.
fn join_path(host: &RoomHost) -> String {
    format!("/_matrix/client/v3/join/{}?via={}", host.room.id(), host.peer.name())
}

fn client(host: &RoomHost, rest: &str) -> String {
    format!("/_matrix/client/v3/rooms/{}/{rest}", host.room.id())
}

async fn join(server: &TestServer, user: &TestUser, host: &RoomHost) -> Answer {
    server.post(&join_path(host), &user.token, json!({})).await
}

async fn joined_members(server: &TestServer, user: &TestUser, host: &RoomHost) -> usize {
    let answer = server.get(&client(host, "joined_members"), &user.token).await;
    answer.ok()["joined"].as_object().map_or(0, |joined| joined.len())
}

async fn state_len(server: &TestServer, user: &TestUser, host: &RoomHost) -> Option<usize> {
    server.get(&client(host, "state"), &user.token).await.ok().as_array().map(Vec::len)
}

async fn say(server: &TestServer, user: &TestUser, host: &RoomHost, text: &str) -> String {
    let path = client(host, &format!("send/m.room.message/{}", unique_name()));
    let sent = server.put(&path, &user.token, json!({ "msgtype": "m.text", "body": text })).await;
    sent.ok()["event_id"].as_str().unwrap_or_default().to_owned()
}

/// A member of the room says something: the host tells the server.
async fn hear(server: &TestServer, host: &RoomHost, number: usize, text: &str) -> Pdu {
    let content = json!({ "msgtype": "m.text", "body": text });
    let pdu = host.room.send(&host.room.member(number), "m.room.message", None, content);
    let event: Value = serde_json::from_str(pdu.json()).expect("an event is JSON");
    let transaction = json!({ "origin": host.peer.name().as_str(), "origin_server_ts": 0, "pdus": [event] });
    let path = format!("/_matrix/federation/v1/send/{}", unique_name());
    let answer = host.peer.put(server, &path, transaction).await;
    assert_eq!(answer.ok()["pdus"][pdu.event_id().as_str()], json!({}));
    pdu
}

/// Syncs until what the response has of the room is enough. Returns that part, and the next token.
async fn sync_room_until(
    server: &TestServer,
    user: &TestUser,
    host: &RoomHost,
    (since, filter): (&str, &str),
    enough: impl Fn(&Value) -> bool,
) -> (Value, String) {
    let mut since = since.to_owned();
    loop {
        let from = if since.is_empty() { String::new() } else { format!("&since={since}") };
        let answer = server.get(&format!("/_matrix/client/v3/sync?timeout=20000{from}{filter}"), &user.token).await;
        since = answer.ok()["next_batch"].as_str().unwrap_or_default().to_owned();
        let room = &answer.body["rooms"]["join"][host.room.id().as_str()];
        if enough(room) {
            return (room.clone(), since);
        }
    }
}

fn says(room: &Value, text: &str) -> bool {
    room["timeline"]["events"].as_array().into_iter().flatten().any(|event| event["content"]["body"] == text)
}

fn state_events(room: &Value) -> usize {
    room["state"]["events"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_returns_the_whole_state() {
    let other = Peer::start().await;
    for server in TestServer::on_each().await {
        // The second one is too large for one transaction.
        for size in [BigRoom::new(300, 450), BigRoom::new(1_400, 2_300)] {
            let host = size.host(&[&other]).await;
            host.room.set_ways(|ways| ways.omits_members = false);
            let alice = server.register(&unique_name()).await;
            join(&server, &alice, &host).await.ok();
            assert_eq!(joined_members(&server, &alice, &host).await, size.members + 1);
            assert_eq!(state_len(&server, &alice, &host).await, Some(size.state_events + 1));
            let (room, since) = sync_room_until(&server, &alice, &host, ("", ""), |_| true).await;
            assert!(state_events(&room) >= size.state_events, "{}", state_events(&room));
            say(&server, &alice, &host, "here").await;
            host.peer
                .receives(|request| request.uri.contains("/send/") && request.body.windows(4).any(|it| it == b"here"))
                .await;
            hear(&server, &host, 7, "welcome").await;
            sync_room_until(&server, &alice, &host, (&since, ""), |room| says(room, "welcome")).await;
            // The state stays what it is when the room is read again.
            let bob = server.register(&unique_name()).await;
            join(&server, &bob, &host).await.ok();
            assert_eq!(joined_members(&server, &bob, &host).await, size.members + 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_later() {
    let other = Peer::start().await;
    for mut server in TestServer::on_each().await {
        let size = BigRoom::new(1_200, 1_900);
        let host = size.host(&[&other]).await;
        host.room.tell_state(false);
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (_, before) = sync_room_until(&server, &alice, &host, ("", ""), |_| true).await;
        join(&server, &alice, &host).await.ok();

        // A client that loads members lazily has the room at once; no other sees a part of it.
        let (room, lazy) = sync_room_until(&server, &alice, &host, (&before, LAZY), |room| room.is_object()).await;
        assert!(state_events(&room) > size.state_events - size.members - 5, "{}", state_events(&room));
        let path = format!("/_matrix/client/v3/sync?since={before}");
        let hidden = server.get(&path, &alice.token).await;
        assert_eq!(hidden.ok()["rooms"]["join"][host.room.id().as_str()], Value::Null);

        // Another process follows: it has the room, and what its users are in, in memory.
        let name = ServerName::try_from(server.name()).expect("a server name");
        let follower = Follower::of(server.place(), &name, server.clock());
        let users = [alice.id.as_str(), bob.id.as_str()].map(|user| user.parse().expect("a user id"));
        let users: Vec<UserId> = users.into_iter().chain((0..20).map(|at| host.room.member(at))).collect();
        follower.assert_up_to_date(host.room.id(), &users).await;

        // What is sent goes to the servers that the host named; what comes waits.
        say(&server, &alice, &host, "first words").await;
        let sent = |request: &plexus_testkit::Received| {
            request.method == Method::PUT && request.uri.contains("/send/") && !request.body.is_empty()
        };
        host.peer.receives(sent).await;
        other.receives(sent).await;
        hear(&server, &host, 5, "in between").await;
        let topic = json!({ "topic": "no power" });
        let refused = server.put(&client(&host, "state/m.room.topic/"), &alice.token, topic).await;
        assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
        // Nobody is let in by what is not known.
        let user = other.user("newcomer");
        let make = format!("/_matrix/federation/v1/make_join/{}/{user}?ver=11", host.room.id());
        assert_eq!(other.get(&server, &make).await.refusal(), (404, "M_NOT_FOUND"));
        let state = format!("/_matrix/federation/v1/state_ids/{}?event_id=$x", host.room.id());
        assert_eq!(other.get(&server, &state).await.refusal(), (404, "M_NOT_FOUND"));

        server.restart().await;
        say(&server, &alice, &host, "second words").await;
        let waiting = async { joined_members(&server, &alice, &host).await };
        let second = async { join(&server, &bob, &host).await };
        let release = async { host.room.tell_state(true) };
        let (members, second, ()) = tokio::join!(waiting, second, release);
        second.ok();
        assert!([size.members + 1, size.members + 2].contains(&members), "{members}");
        assert_eq!(joined_members(&server, &alice, &host).await, size.members + 2);
        assert_eq!(state_len(&server, &alice, &host).await, Some(size.state_events + 2));
        follower.assert_up_to_date(host.room.id(), &users).await;
        let (room, _) = sync_room_until(&server, &alice, &host, (&before, ""), |room| room.is_object()).await;
        assert!(state_events(&room) >= size.state_events, "{}", state_events(&room));
        sync_room_until(&server, &alice, &host, (&lazy, LAZY), |room| says(room, "in between")).await;
        hear(&server, &host, 9, "at last").await;
        sync_room_until(&server, &alice, &host, (&lazy, LAZY), |room| says(room, "at last")).await;
        let joined = other.get(&server, &make).await;
        assert_eq!(joined.ok()["room_version"], "11");
        server.restart().await;
        assert_eq!(joined_members(&server, &alice, &host).await, size.members + 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let host = BigRoom::new(300, 400).host(&[]).await;
        host.room.set_ways(|ways| (ways.omits_members, ways.joins_break_off) = (false, Some(100_000)));
        assert_eq!(join(&server, &alice, &host).await.refusal(), (502, "M_UNKNOWN"));
        let rooms = server.get("/_matrix/client/v3/joined_rooms", &alice.token).await;
        assert_eq!(rooms.ok(), &json!({ "joined_rooms": [] }));
        host.room.set_ways(|ways| ways.joins_break_off = None);
        join(&server, &alice, &host).await.ok();
        assert_eq!(joined_members(&server, &alice, &host).await, 301);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_returned_at_the_second_try() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let alice = server.register("alice").await;
        let host = BigRoom::new(300, 400).host(&[]).await;
        host.room.set_ways(|ways| ways.states_break_off = Some(100_000));
        join(&server, &alice, &host).await.ok();
        let asked = || host.peer.received().iter().filter(|request| request.uri.contains("/v1/state/")).count();
        while asked() < 2 {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        assert_eq!(joined_members(&server, &alice, &host).await, 301);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_before_the_members_have_come() {
    for server in TestServer::on_each().await {
        let host = BigRoom::new(200, 300).host(&[]).await;
        host.room.tell_state(false);
        let alice = server.register("alice").await;
        join(&server, &alice, &host).await.ok();
        host.peer.receives(|request| request.uri.contains("/v1/state/")).await;
        hear(&server, &host, 3, "too late").await;
        server.post(&client(&host, "leave"), &alice.token, json!({})).await.ok();
        let rooms = server.get("/_matrix/client/v3/joined_rooms", &alice.token).await;
        assert_eq!(rooms.ok(), &json!({ "joined_rooms": [] }));
        host.peer
            .receives(|request| {
                request.uri.contains("/send/")
                    && String::from_utf8_lossy(&request.body).contains(r#""membership":"leave""#)
            })
            .await;
        // And once more, with what is left of the first time.
        host.room.tell_state(true);
        join(&server, &alice, &host).await.ok();
        assert_eq!(joined_members(&server, &alice, &host).await, 201);
        hear(&server, &host, 3, "in time").await;
        sync_room_until(&server, &alice, &host, ("", ""), |room| says(room, "in time")).await;
    }
}

/// A second event for a key, one of another room, one that nobody has signed, and one that was not allowed.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_contradicts_itself() {
    for server in TestServer::on_each().await {
        let (host, elsewhere) = (BigRoom::new(200, 300).host(&[]).await, BigRoom::new(2, 6).host(&[]).await);
        let creator = host.room.creator();
        let name = host.room.compose(&creator, "m.room.name", Some(""), &json!({ "name": "Other" }));
        let stranger = host.room.member(1);
        let ban = json!({ "membership": "ban" });
        let not_allowed = host.room.compose(&stranger, "m.room.member", Some(creator.as_str()), &ban);
        let foreign =
            elsewhere.room.compose(&elsewhere.room.creator(), "m.room.topic", Some(""), &json!({ "topic": "x" }));
        let topic = host.room.compose(&creator, "m.room.topic", Some(""), &json!({ "topic": "forged" }));
        let forged = topic.json().replace(creator.server_name(), elsewhere.peer.name().as_str());
        let also = [name.json(), not_allowed.json(), foreign.json(), &forged, "17", r#"{"type":"m.room.member"}"#];
        let also = also.iter().map(|event| (*event).to_owned().into()).collect();
        host.room.set_ways(|ways| ways.also = also);
        let alice = server.register("alice").await;
        join(&server, &alice, &host).await.ok();
        assert_eq!(joined_members(&server, &alice, &host).await, 201);
        let known = server.get(&client(&host, "state/m.room.topic/"), &alice.token).await;
        assert_eq!(known.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(state_len(&server, &alice, &host).await, Some(301));
        say(&server, &alice, &host, "still here").await;
        hear(&server, &host, 3, "so are we").await;
        sync_room_until(&server, &alice, &host, ("", ""), |room| says(room, "so are we")).await;
    }
}
