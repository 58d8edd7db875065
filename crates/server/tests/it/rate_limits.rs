//! The limits of homeserver.yaml (`rc_*`) as clients meet them.

use http::Method;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{Peer, TestPlace, places, unique_name};
use serde_json::{Value, json};

use crate::federation;

const CLIENT: &str = "/_matrix/client/v3";

/// A server with these options; nothing comes back within a test.
async fn with(config: &str) -> TestServer {
    TestServer::on(TestPlace::sqlite()).config(config).start().await
}

/// The refusal is as the specification asks, and says when to come again.
#[track_caller]
fn assert_limited(answer: &Answer) {
    assert_eq!(answer.refusal(), (429, "M_LIMIT_EXCEEDED"));
    let ms = answer.body["retry_after_ms"].as_u64().expect("retry_after_ms");
    let seconds: u64 = answer.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!(ms > 0 && seconds == ms.div_ceil(1000), "{ms} ms, {seconds} s");
}

async fn create_room(server: &TestServer, user: &TestUser) -> Answer {
    server.post(&format!("{CLIENT}/createRoom"), &user.token, json!({ "preset": "public_chat" })).await
}

async fn public_room(server: &TestServer, user: &TestUser) -> String {
    create_room(server, user).await.ok()["room_id"].as_str().expect("a room id").to_owned()
}

async fn join(server: &TestServer, user: &TestUser, room: &str) -> Answer {
    server.post(&format!("{CLIENT}/rooms/{room}/join"), &user.token, json!({})).await
}

async fn put(server: &TestServer, user: &TestUser, room: &str, rest: &str, content: Value) -> Answer {
    server.put(&format!("{CLIENT}/rooms/{room}/{rest}"), &user.token, content).await
}

async fn say(server: &TestServer, user: &TestUser, room: &str) -> Answer {
    put(
        server,
        user,
        room,
        &format!("send/m.room.message/{}", unique_name()),
        json!({ "msgtype": "m.text", "body": "hi" }),
    )
    .await
}

fn id(answer: &Answer) -> String {
    answer.ok()["event_id"].as_str().expect("an event id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages() {
    let server = with("rc_message: {per_second: 0.001, burst_count: 3}").await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    join(&server, &bob, &room).await.ok();
    let content = json!({ "msgtype": "m.text", "body": "once" });
    let first = put(&server, &alice, &room, "send/m.room.message/1", content.clone()).await;
    put(&server, &alice, &room, "state/m.room.topic", json!({ "topic": "a" })).await.ok();
    put(&server, &alice, &room, &format!("redact/{}/2", id(&first)), json!({})).await.ok();
    assert_limited(&say(&server, &alice, &room).await);
    assert_limited(&put(&server, &alice, &room, "state/m.room.topic", json!({ "topic": "b" })).await);
    let member = format!("state/m.room.member/{}", alice.id);
    assert_limited(&put(&server, &alice, &room, &member, json!({ "membership": "leave" })).await);
    assert_limited(&put(&server, &alice, &room, &format!("redact/{}/3", id(&first)), json!({})).await);
    // What was answered before is answered again, and others have a limit of their own.
    assert_eq!(id(&put(&server, &alice, &room, "send/m.room.message/1", content).await), id(&first));
    say(&server, &bob, &room).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn redactions_of_others_have_a_limit_of_their_own() {
    let config = "
rc_message: {per_second: 0.001, burst_count: 3}
rc_admin_redaction: {per_second: 0.001, burst_count: 2}
";
    let server = with(config).await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    join(&server, &bob, &room).await.ok();
    let mut spam = Vec::new();
    for _ in 0..3 {
        spam.push(id(&say(&server, &bob, &room).await));
    }
    let mut own = Vec::new();
    for _ in 0..2 {
        own.push(id(&say(&server, &alice, &room).await));
    }
    // Both ways to redact.
    put(&server, &alice, &room, &format!("redact/{}/1", spam[0]), json!({})).await.ok();
    put(&server, &alice, &room, "send/m.room.redaction/2", json!({ "redacts": spam[1] })).await.ok();
    assert_limited(&put(&server, &alice, &room, &format!("redact/{}/3", spam[2]), json!({})).await);
    assert_limited(&put(&server, &alice, &room, "send/m.room.redaction/4", json!({ "redacts": spam[2] })).await);
    assert_limited(&put(&server, &alice, &room, "state/m.room.redaction/x", json!({ "redacts": spam[2] })).await);
    // One's own are messages: the third of three.
    put(&server, &alice, &room, &format!("redact/{}/5", own[0]), json!({})).await.ok();
    assert_limited(&put(&server, &alice, &room, &format!("redact/{}/6", own[1]), json!({})).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_it_redactions_of_others_are_messages() {
    let server = with("rc_message: {per_second: 0.001, burst_count: 1}").await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    join(&server, &bob, &room).await.ok();
    let spam = id(&say(&server, &bob, &room).await);
    put(&server, &alice, &room, &format!("redact/{spam}/1"), json!({})).await.ok();
    assert_limited(&say(&server, &alice, &room).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_requests_over_the_limit_are_dropped() {
    let server = with("rc_key_requests: {per_second: 0.001, burst_count: 2}").await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let tablet = server.log_in("alice").await;
    let ask = async |from: &TestUser, event_type: &str, to: &TestUser, request: &str| {
        let path = format!("{CLIENT}/sendToDevice/{event_type}/{}", unique_name());
        let messages = json!({ "messages": { &to.id: { &to.device_id: { "request_id": request } } } });
        server.put(&path, &from.token, messages).await.ok();
    };
    for request in ["1", "2", "dropped"] {
        ask(&alice, "m.room_key_request", &bob, request).await;
    }
    // Another device, another type, and the user's own devices.
    ask(&tablet, "m.room_key_request", &bob, "3").await;
    ask(&alice, "m.other", &bob, "4").await;
    ask(&alice, "m.room_key_request", &tablet, "5").await;
    let received = async |user: &TestUser| {
        let answer = server.get(&format!("{CLIENT}/sync?timeout=0"), &user.token).await;
        let events = answer.ok()["to_device"]["events"].as_array().cloned().unwrap_or_default();
        let of = |event: &Value| event["content"]["request_id"].as_str().unwrap_or_default().to_owned();
        events.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(received(&bob).await, ["1", "2", "3", "4"]);
    assert_eq!(received(&tablet).await, ["5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn joins() {
    let server = with("rc_joins: {local: {per_second: 0.001, burst_count: 1}}").await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let (one, two) = (public_room(&server, &alice).await, public_room(&server, &alice).await);
    join(&server, &bob, &one).await.ok();
    assert_limited(&join(&server, &bob, &two).await);

    let server = with("rc_joins_per_room: {per_second: 0.001, burst_count: 1}").await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    let (one, two) = (public_room(&server, &alice).await, public_room(&server, &alice).await);
    join(&server, &bob, &one).await.ok();
    assert_limited(&join(&server, &carol, &one).await);
    join(&server, &carol, &two).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn invites() {
    for (option, same_room, same_target, same_issuer) in
        [("per_room", true, false, false), ("per_user", false, true, false), ("per_issuer", false, false, true)]
    {
        // Setting one leaves the others at their defaults, which allow more.
        let server = with(&format!("rc_invites: {{{option}: {{per_second: 0.001, burst_count: 1}}}}")).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (carol, dora) = (server.register("carol").await, server.register("dora").await);
        let (one, two) = (public_room(&server, &alice).await, public_room(&server, &alice).await);
        for room in [&one, &two] {
            join(&server, &bob, room).await.ok();
        }
        let invite = async |by: &TestUser, room: &str, target: &TestUser| {
            server.post(&format!("{CLIENT}/rooms/{room}/invite"), &by.token, json!({ "user_id": target.id })).await
        };
        invite(&alice, &one, &carol).await.ok();
        let by = if same_issuer { &alice } else { &bob };
        let room = if same_room { &one } else { &two };
        let target = if same_target { &carol } else { &dora };
        assert_limited(&invite(by, room, target).await);
    }
}

async fn set_member(server: &TestServer, by: &TestUser, room: &str, of: &str, membership: &str) -> Answer {
    put(server, by, room, &format!("state/m.room.member/{of}"), json!({ "membership": membership })).await
}

/// A request of a user's that changes a membership in a room.
async fn change(server: &TestServer, user: &TestUser, room: &str, route: &str) -> Answer {
    let alias = format!("{CLIENT}/join/%23{}:test.example", room[1..].split(':').next().unwrap().to_lowercase());
    match route {
        "by id" => server.post(&format!("{CLIENT}/rooms/{room}/join"), &user.token, json!({})).await,
        "by id or alias" => server.post(&format!("{CLIENT}/join/{room}"), &user.token, json!({})).await,
        "by alias" => server.post(&alias, &user.token, json!({})).await,
        "by state" => set_member(server, user, room, &user.id, "join").await,
        "knocking" => server.post(&format!("{CLIENT}/knock/{room}"), &user.token, json!({})).await,
        "knocking by state" => set_member(server, user, room, &user.id, "knock").await,
        _ => panic!("no such route: {route}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_leads_around_the_limit_on_joins() {
    for place in places() {
        let config = "rc_joins: {local: {per_second: 0.001, burst_count: 1}}";
        let server = TestServer::on(place).config(config).start().await;
        let alice = server.register("alice").await;
        let (one, two) = (public_room(&server, &alice).await, public_room(&server, &alice).await);
        let alias = json!({ "room_id": two });
        let name = two[1..].split(':').next().unwrap().to_lowercase();
        server.put(&format!("{CLIENT}/directory/room/%23{name}:test.example"), &alice.token, alias).await.ok();
        let routes = ["by id", "by id or alias", "by alias", "by state", "knocking", "knocking by state"];
        for (number, route) in routes.iter().enumerate() {
            let user = server.register(&format!("user{number}")).await;
            join(&server, &user, &one).await.ok();
            assert_limited(&change(&server, &user, &two, route).await);
            // Another name in a room is no join.
            let named = json!({ "membership": "join", "displayname": "Somebody" });
            put(&server, &user, &one, &format!("state/m.room.member/{}", user.id), named).await.ok();
            join(&server, &user, &one).await.ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_joined_so_often_only_whoever_joins() {
    for place in places() {
        let config = "rc_joins_per_room: {per_second: 0.001, burst_count: 2}";
        let server = TestServer::on(place).config(config).start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (carol, dora) = (server.register("carol").await, server.register("dora").await);
        let peer = Peer::start().await;
        let room = federation::public_room(&server, &alice, "11").await;
        // A join that fails does not keep others out.
        set_member(&server, &alice, &room, &dora.id, "ban").await.ok();
        let mut made = Vec::new();
        for user in ["eve", "fred", "gus"] {
            assert_eq!(join(&server, &dora, &room).await.refusal(), (403, "M_FORBIDDEN"));
            made.push(federation::make(&server, &peer, "join", &room, &peer.user(user)).await);
        }
        let unfit =
            federation::signed(&peer, &made[2], |event| event["prev_events"] = json!([format!("${}", "A".repeat(43))]));
        assert_ne!(federation::submit(&server, &peer, "v2/send_join", &room, &unfit, "").await.status, 200);
        let join_of = async |made: &Answer| {
            let pdu = federation::signed(&peer, made, |_| {});
            federation::submit(&server, &peer, "v2/send_join", &room, &pdu, "").await
        };
        join_of(&made[0]).await.ok();
        join(&server, &bob, &room).await.ok();
        for route in ["by id", "by id or alias", "by state"] {
            assert_limited(&change(&server, &carol, &room, route).await);
        }
        assert_limited(&join_of(&made[1]).await);
        assert_limited(&federation::make(&server, &peer, "join", &room, &peer.user("hal")).await);
        // The answer to the first was lost.
        join_of(&made[0]).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_leads_around_the_limit_on_invites() {
    for option in ["per_room", "per_user", "per_issuer"] {
        let server = with(&format!("rc_invites: {{{option}: {{per_second: 0.001, burst_count: 1}}}}")).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        set_member(&server, &alice, &room, &bob.id, "invite").await.ok();
        let invite = json!({ "user_id": bob.id });
        assert_limited(&server.post(&format!("{CLIENT}/rooms/{room}/invite"), &alice.token, invite).await);
        assert_limited(&set_member(&server, &alice, &room, &bob.id, "invite").await);
        if option != "per_room" {
            let body = json!({ "invite": [bob.id] });
            assert_limited(&server.post(&format!("{CLIENT}/createRoom"), &alice.token, body).await);
        }
        let by_state = json!([{ "type": "m.room.member", "state_key": bob.id, "content": { "membership": "invite" } }]);
        let answer =
            server.post(&format!("{CLIENT}/createRoom"), &alice.token, json!({ "initial_state": by_state })).await;
        assert_eq!(answer.refusal(), (400, "M_INVALID_ROOM_STATE"));
    }
}

/// An invite of a user of ours by `sender`, a user of the peer, to a room that is only there.
async fn invite_from(server: &TestServer, peer: &Peer, sender: &str, room: &str, user: &str) -> Answer {
    let event = json!({
        "type": "m.room.member", "state_key": user, "sender": sender, "room_id": room, "depth": 1,
        "origin_server_ts": 1, "content": { "membership": "invite" }, "prev_events": [], "auth_events": [],
    });
    let event = plexus_protocol::json::Object::parse(&event.to_string()).expect("an object");
    let pdu =
        plexus_protocol::event::build::finish(event, RoomVersion::V11, peer.key(), peer.name()).expect("an event");
    let body = json!({ "room_version": "11", "event": federation::json_of(&pdu), "invite_room_state": [] });
    peer.put(server, &federation::path("v2/invite", &[room, pdu.event_id().as_str()]), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_from_other_servers() {
    let peer = Peer::start().await;
    let (user, room) = (|name: &str| peer.user(name), |name: &str| format!("!{name}:{}", peer.name()));
    for option in ["per_room", "per_user", "per_issuer"] {
        let server = with(&format!("rc_invites: {{{option}: {{per_second: 0.001, burst_count: 1}}}}")).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        invite_from(&server, &peer, &user("mallory"), &room("one"), &alice.id).await.ok();
        let (sender, to, of) = match option {
            "per_room" => ("eve", "one", &bob),
            "per_user" => ("eve", "two", &alice),
            _ => ("mallory", "two", &bob),
        };
        assert_limited(&invite_from(&server, &peer, &user(sender), &room(to), &of.id).await);
        let synced = server.get(&format!("{CLIENT}/sync"), &of.token).await;
        assert!(synced.ok()["rooms"]["invite"][room("two")].is_null(), "{option}");
        invite_from(&server, &peer, &user("fred"), &room("three"), &carol.id).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_leads_around_blocked_invites() {
    let server = with("block_non_admin_invites: true").await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    let invite = json!({ "user_id": bob.id });
    for answer in [
        server.post(&format!("{CLIENT}/rooms/{room}/invite"), &alice.token, invite).await,
        set_member(&server, &alice, &room, &bob.id, "invite").await,
        server.post(&format!("{CLIENT}/createRoom"), &alice.token, json!({ "invite": [bob.id] })).await,
    ] {
        assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"));
    }
    let peer = Peer::start().await;
    let room = format!("!elsewhere:{}", peer.name());
    let answer = invite_from(&server, &peer, &peer.user("eve"), &room, &bob.id).await;
    assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers() {
    let config = "
rc_registration: {per_second: 0.001, burst_count: 1}
rc_registration_token_validity: {per_second: 0.001, burst_count: 1}
rc_login: {account: {per_second: 0.001, burst_count: 1}}
";
    let server = with(config).await;
    server.register("alice").await;
    let body = json!({ "username": "bob", "password": "x", "auth": { "type": "m.login.dummy" } });
    let ask = async |method: Method, path: &str, body: Option<Value>| server.request(method, path, None, body).await;
    assert_limited(&ask(Method::POST, &format!("{CLIENT}/register"), Some(body)).await);

    let validity = "/_matrix/client/v1/register/m.login.registration_token/validity?token=x";
    ask(Method::GET, validity, None).await.ok();
    assert_limited(&ask(Method::GET, validity, None).await);

    server.log_in("alice").await;
    let identifier = json!({ "type": "m.id.user", "user": "alice" });
    let login = json!({ "type": "m.login.password", "identifier": identifier, "password": "password of alice" });
    assert_limited(&ask(Method::POST, &format!("{CLIENT}/login"), Some(login)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_actions_of_a_user_are_limited() {
    let limit = "{per_second: 0.001, burst_count: 1}";
    let options = ["media_create", "room_creation", "reports", "user_directory", "profile"];
    let config = options.map(|option| format!("rc_{option}: {limit}\n")).concat();
    let server = with(&format!("{config}rc_presence: {{per_user: {limit}}}")).await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    assert_limited(&create_room(&server, &alice).await);
    let presence = format!("{CLIENT}/presence/{}/status", alice.id);
    for (method, path, body) in [
        (Method::POST, "/_matrix/media/v1/create".to_owned(), None),
        (Method::POST, format!("{CLIENT}/rooms/{room}/report"), Some(json!({ "reason": "x" }))),
        (Method::POST, format!("{CLIENT}/user_directory/search"), Some(json!({ "search_term": "x" }))),
        (Method::GET, format!("{CLIENT}/profile/{}", bob.id), None),
        (Method::PUT, presence, Some(json!({ "presence": "online" }))),
    ] {
        let ask = || server.request(method.clone(), &path, Some(&alice.token), body.clone());
        ask().await.ok();
        assert_limited(&ask().await);
    }
}
