//! Errors of the endpoints for accounts, and of query parameters and filters that are out of bounds.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use super::{Snapshot, servers};
use crate::client::{CLIENT, LOGIN, REGISTER, create, post_unauthenticated, room_path};

const CONFIG: &str = "
password_config: {policy: {enabled: true, minimum_length: 8, require_digit: true}}
rc_registration: {per_second: 100, burst_count: 100}
";

#[tokio::test]
async fn accounts() {
    for server in servers(CONFIG).await {
        let mut snapshot = Snapshot::new("account_errors");
        registrations(&server, &mut snapshot).await;
        logins(&server, &mut snapshot).await;
        passwords_and_addresses(&server, &mut snapshot).await;
        snapshot.assert();
    }
}

async fn registrations(server: &TestServer, snapshot: &mut Snapshot) {
    let auth = json!({ "type": "m.login.dummy" });
    let password = "password 1";
    for (title, body) in [
        ("no password", json!({ "username": "a", "auth": auth })),
        ("a short password", json!({ "username": "a", "password": "pass 1", "auth": auth })),
        ("a password without a digit", json!({ "username": "a", "password": "password", "auth": auth })),
        ("a long password", json!({ "username": "a", "password": format!("1{}", "x".repeat(600)), "auth": auth })),
        ("a name with capitals and spaces", json!({ "username": "A b", "password": password, "auth": auth })),
        ("a name of digits", json!({ "username": "123", "password": password, "auth": auth })),
        ("a name that begins with _", json!({ "username": "_a", "password": password, "auth": auth })),
        ("a long name", json!({ "username": "x".repeat(250), "password": password, "auth": auth })),
        ("a name of another type", json!({ "username": 5, "password": password, "auth": auth })),
        ("auth of another type", json!({ "username": "a", "password": password, "auth": "m.login.dummy" })),
    ] {
        snapshot.add(&format!("register: {title}"), &post_unauthenticated(server, REGISTER, body).await);
    }
    let guest = format!("{REGISTER}?kind=guest");
    snapshot.add("register: a guest", &post_unauthenticated(server, &guest, json!({})).await);
    let other = format!("{REGISTER}?kind=admin");
    snapshot.add("register: a kind that is none", &post_unauthenticated(server, &other, json!({})).await);
}

async fn logins(server: &TestServer, snapshot: &mut Snapshot) {
    let alice = json!({ "type": "m.id.user", "user": "alice" });
    for (title, body) in [
        ("no type", json!({ "identifier": alice, "password": "x" })),
        ("a type that is none", json!({ "type": "m.login.odd", "identifier": alice })),
        ("no password", json!({ "type": "m.login.password", "identifier": alice })),
        ("no identifier", json!({ "type": "m.login.password", "password": "x" })),
        ("no user", json!({ "type": "m.login.password", "identifier": { "type": "m.id.user" }, "password": "x" })),
        (
            "an identifier that is none",
            json!({ "type": "m.login.password", "identifier": { "type": "m.id.odd" }, "password": "x" }),
        ),
        (
            "an address without a user",
            json!({ "type": "m.login.password", "password": "x",
                "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": "a@example.org" } }),
        ),
        ("a user of another server", json!({ "type": "m.login.password", "user": "@a:b.example", "password": "x" })),
    ] {
        snapshot.add(&format!("login: {title}"), &post_unauthenticated(server, LOGIN, body).await);
    }
}

async fn passwords_and_addresses(server: &TestServer, snapshot: &mut Snapshot) {
    let bob = server.register("bob1").await;
    for (title, path, body) in [
        ("a weak new password", "account/password", json!({ "new_password": "short" })),
        ("a new password of another type", "account/password", json!({ "new_password": 12_345_678 })),
        ("an address without a session", "account/3pid/add", json!({ "client_secret": "x" })),
        ("an address without a secret", "account/3pid/add", json!({ "sid": "x" })),
        ("an unknown session", "account/3pid/add", json!({ "client_secret": "x", "sid": "x" })),
        ("no session, older form", "account/3pid", json!({ "three_pid_creds": { "client_secret": "x" } })),
        ("no address", "account/3pid/delete", json!({ "medium": "email" })),
        ("an address with NUL", "account/3pid/delete", json!({ "medium": "email", "address": "a\u{0}@b.example" })),
        ("an address that is not there", "account/3pid/delete", json!({ "medium": "email", "address": "a@b.example" })),
        ("an address that is not bound", "account/3pid/unbind", json!({ "medium": "email", "address": "a@b.example" })),
    ] {
        let answer = server.post(&format!("{CLIENT}/{path}"), &bob.token, body).await;
        snapshot.add(&format!("{path}: {title}"), &answer);
    }
}

#[tokio::test]
async fn parameters_and_filters() {
    for server in servers("").await {
        let mut snapshot = Snapshot::new("parameter_errors");
        let alice = server.register("alice").await;
        let room = create(&server, &alice, json!({})).await;
        let topic = server.put(&room_path(&room, "state/m.room.topic"), &alice.token, json!({ "topic": "x" })).await;
        let event = topic.ok()["event_id"].as_str().expect("an event id").to_owned();
        queries(&server, &alice, &room, &event, &mut snapshot).await;
        filters(&server, &alice, &mut snapshot).await;
        snapshot.assert();
    }
}

async fn queries(server: &TestServer, alice: &TestUser, room: &str, event: &str, snapshot: &mut Snapshot) {
    let v1 = format!("/_matrix/client/v1/rooms/{room}");
    let v3 = format!("{CLIENT}/rooms/{room}");
    for (name, path) in [
        ("messages?dir=x", format!("{v3}/messages?dir=x")),
        ("messages without dir", format!("{v3}/messages")),
        ("messages?limit=0", format!("{v3}/messages?dir=b&limit=0&from=s1")),
        ("messages?limit=-1", format!("{v3}/messages?dir=b&limit=-1")),
        ("messages?from=nonsense", format!("{v3}/messages?dir=b&from=nonsense")),
        ("messages?to=nonsense", format!("{v3}/messages?dir=b&to=nonsense")),
        ("messages?filter=[]", format!("{v3}/messages?dir=b&filter=%5B%5D")),
        ("members?membership=x", format!("{v3}/members?membership=x")),
        ("members?at=nonsense", format!("{v3}/members?at=nonsense")),
        ("context?limit=many", format!("{v3}/context/{event}?limit=many")),
        ("context?filter={", format!("{v3}/context/{event}?filter=%7B")),
        ("threads?limit=0", format!("{v1}/threads?limit=0")),
        ("threads?include=some", format!("{v1}/threads?include=some")),
        ("threads?from=nonsense", format!("{v1}/threads?from=nonsense")),
        ("relations?dir=x", format!("{v1}/relations/{event}?dir=x")),
        ("relations?from=nonsense", format!("{v1}/relations/{event}?from=nonsense")),
        ("hierarchy?limit=0", format!("{v1}/hierarchy?limit=0")),
        ("hierarchy?max_depth=-1", format!("{v1}/hierarchy?max_depth=-1")),
        ("hierarchy?from=nonsense", format!("{v1}/hierarchy?from=nonsense")),
        ("timestamp_to_event?dir=x", format!("{v1}/timestamp_to_event?dir=x&ts=0")),
        ("timestamp_to_event?ts=-1", format!("{v1}/timestamp_to_event?dir=f&ts=-1")),
        ("publicRooms?limit=x", format!("{CLIENT}/publicRooms?limit=x")),
        ("publicRooms?since=nonsense", format!("{CLIENT}/publicRooms?since=nonsense")),
        ("notifications?from=nonsense", format!("{CLIENT}/notifications?from=nonsense")),
        ("keys/changes?to=nonsense", format!("{CLIENT}/keys/changes?from=s1&to=nonsense")),
        ("keys/changes without from", format!("{CLIENT}/keys/changes?to=s1")),
        ("keys/changes of the future", format!("{CLIENT}/keys/changes?from=s{}&to=s{}", i64::MAX, i64::MAX)),
        ("keys/changes from after to", format!("{CLIENT}/keys/changes?from=s{}&to=s1", i64::MAX)),
    ] {
        snapshot.add(name, &server.get(&path, &alice.token).await);
    }
}

async fn filters(server: &TestServer, alice: &TestUser, snapshot: &mut Snapshot) {
    let path = format!("{CLIENT}/user/{}/filter", alice.id);
    let stars = |count: usize| -> Value { json!({ "room": { "timeline": { "types": ["*".repeat(count)] } } }) };
    for (title, filter) in [
        ("of another type", json!([])),
        ("with a limit that is no number", json!({ "room": { "timeline": { "limit": "many" } } })),
        ("with a negative limit", json!({ "room": { "timeline": { "limit": -1 } } })),
        ("with rooms that are no list", json!({ "room": { "rooms": "!a:b.example" } })),
        ("with a format that is none", json!({ "event_format": "odd" })),
        ("with as many * as there may be", stars(200)),
        ("with too many *", stars(201)),
        ("that is too large", json!({ "x": "x".repeat(70_000) })),
    ] {
        snapshot.add(&format!("a filter {title}"), &server.post(&path, &alice.token, filter).await);
    }
    snapshot.add("an unknown filter", &server.get(&format!("{path}/77"), &alice.token).await);
    snapshot.add("a filter id that is none", &server.get(&format!("{path}/x"), &alice.token).await);
}
