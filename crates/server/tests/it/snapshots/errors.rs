//! Errors that clients meet most.

use http::Method;
use plexus_testkit::server::TestServer;
use serde_json::json;

use super::{Snapshot, send_text, servers};
use crate::client::{CLIENT, LOGIN, create, password_login, post_unauthenticated, room_path};

const CONFIG: &str = "
rc_login: {account: {per_second: 0.1, burst_count: 1}, address: {per_second: 0.1, burst_count: 1}}
serve_server_wellknown: true
public_baseurl: https://test.example/
";

#[tokio::test]
async fn common_errors() {
    for server in servers(CONFIG).await {
        let mut snapshot = Snapshot::new("errors");
        tokens(&server, &mut snapshot).await;
        bodies(&server, &mut snapshot).await;
        rooms(&server, &mut snapshot).await;
        snapshot.assert();
    }
}

/// 401 and 429.
async fn tokens(server: &TestServer, snapshot: &mut Snapshot) {
    let whoami = format!("{CLIENT}/account/whoami");
    snapshot.add("no access token", &server.request(Method::GET, &whoami, None, None).await);
    snapshot.add("an unknown access token", &server.get(&whoami, "nonsense").await);
    server.register("alice").await;
    snapshot.add("a wrong password", &post_unauthenticated(server, LOGIN, password_login("alice", "x")).await);
    snapshot.add("too many logins", &post_unauthenticated(server, LOGIN, password_login("alice", "x")).await);
    snapshot.add(
        "a user id in use",
        &post_unauthenticated(
            server,
            &format!("{CLIENT}/register"),
            json!({
                "username": "alice", "password": "x"
            }),
        )
        .await,
    );
}

/// 400 and 413.
async fn bodies(server: &TestServer, snapshot: &mut Snapshot) {
    let bob = server.register("bob").await;
    let path = format!("{CLIENT}/createRoom");
    for (title, body) in [
        ("no JSON", "{"),
        ("JSON that is no object", "[]"),
        ("a member of another type", r#"{"name": 5}"#),
        ("a preset that is none", r#"{"preset": "odd"}"#),
        ("a room version that is not known", r#"{"room_version": "99"}"#),
        ("an invite that is no user", r#"{"invite": ["nobody"]}"#),
        ("an alias that is none", r#"{"room_alias_name": "a b"}"#),
    ] {
        let answer = send_text(server, Method::POST, &path, Some(&bob.token), body).await;
        snapshot.add(&format!("createRoom: {title}"), &answer);
    }
    let name = json!({ "name": "x".repeat(70_000) });
    snapshot.add("createRoom: an event of more than 64 KiB", &server.post(&path, &bob.token, name).await);
    let large = json!({ "name": "x".repeat(2 << 20) });
    snapshot.add("createRoom: a body that is too large", &server.post(&path, &bob.token, large).await);
    create(server, &bob, json!({ "room_alias_name": "taken" })).await;
    let taken = server.post(&path, &bob.token, json!({ "room_alias_name": "taken" })).await;
    snapshot.add("createRoom: an alias that is taken", &taken);
    for query in ["since=nonsense", "timeout=soon", "filter=77"] {
        let answer = server.get(&format!("{CLIENT}/sync?{query}"), &bob.token).await;
        snapshot.add(&format!("sync: {query}"), &answer);
    }
}

/// 403, 404 and 405.
async fn rooms(server: &TestServer, snapshot: &mut Snapshot) {
    let (carol, dave) = (server.register("carol").await, server.register("dave").await);
    let room = create(server, &carol, json!({})).await;
    let join = server.post(&room_path(&room, "join"), &dave.token, json!({})).await;
    snapshot.add("joining a private room", &join);
    snapshot.add("reading a private room", &server.get(&room_path(&room, "messages?dir=b"), &dave.token).await);
    snapshot.add("state of a private room", &server.get(&room_path(&room, "state"), &dave.token).await);
    let message = server.put(&room_path(&room, "send/m.room.message/1"), &dave.token, json!({})).await;
    snapshot.add("sending to a private room", &message);
    let kick = json!({ "user_id": carol.id });
    snapshot.add("kicking without being a member", &server.post(&room_path(&room, "kick"), &dave.token, kick).await);
    let unknown = server.post(&room_path("!none:test.example", "join"), &dave.token, json!({})).await;
    snapshot.add("joining an unknown room", &unknown);
    let event = room_path(&room, "event/$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE");
    snapshot.add("an unknown event", &server.get(&event, &carol.token).await);
    snapshot.add("an unset state", &server.get(&room_path(&room, "state/m.room.topic/"), &carol.token).await);
    let alias = format!("{CLIENT}/directory/room/%23none:test.example");
    snapshot.add("an unknown alias", &server.get(&alias, &carol.token).await);
    snapshot.add("an unknown user", &server.get(&format!("{CLIENT}/profile/@none:test.example"), &carol.token).await);
    snapshot.add("an unknown path", &server.get(&format!("{CLIENT}/nothing"), &carol.token).await);
    snapshot.add("another method", &server.delete(&format!("{CLIENT}/sync"), &carol.token).await);
}

#[tokio::test]
async fn what_the_server_is() {
    for server in servers(CONFIG).await {
        let mut snapshot = Snapshot::new("discovery");
        for path in ["/.well-known/matrix/client", "/.well-known/matrix/server", "/_matrix/client/versions"] {
            snapshot.add(&format!("GET {path}"), &server.request(Method::GET, path, None, None).await);
        }
        let alice = server.register("alice").await;
        snapshot.add("GET capabilities", &server.get(&format!("{CLIENT}/capabilities"), &alice.token).await);
        snapshot.add("GET login", &server.request(Method::GET, LOGIN, None, None).await);
        snapshot.assert();
    }
}
