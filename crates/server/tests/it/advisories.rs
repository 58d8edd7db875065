//! Vulnerabilities that were published of other homeservers: `tests/advisories.tsv` says for each which test shows that
//! it is none here. The tests that stand nowhere else are in this file.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use http::Method;
use plexus_http::Route;
use plexus_testkit::{TestServer, TestUser};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{create, join, public_room, room_path, say, send};

const LIST: &str = include_str!("../../../../tests/advisories.tsv");

/// Whether `file` (from the top of the repository) has a test function of this name.
fn has_test(file: &str, function: &str) -> bool {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Ok(source) = std::fs::read_to_string(top.join(file)) else { return false };
    let Some(at) = source.find(&format!("fn {function}(")) else { return false };
    let before = source.get(..at).unwrap_or_default();
    before.lines().rev().take(4).any(|line| line.contains("#[test]") || line.contains("#[tokio::test"))
}

#[test]
fn every_advisory_has_its_evidence() {
    let mut seen = BTreeSet::new();
    for line in LIST.lines().filter(|line| !line.starts_with('#')) {
        let [id, place, what, evidence] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not four columns: {line}");
        };
        assert!(!id.is_empty() && !place.is_empty() && !what.is_empty() && seen.insert(id), "{line}");
        let reason = evidence.strip_prefix("n/a: ").or_else(|| evidence.strip_prefix("not built: "));
        if let Some(reason) = reason {
            assert!(reason.len() > 20, "{id}: a reason is a sentence");
            continue;
        }
        for test in evidence.split(' ') {
            let (file, function) = test.split_once("::").unwrap_or_else(|| panic!("{id}: {test} names no test"));
            assert!(has_test(file, function), "{id}: there is no test {function} in {file}");
        }
    }
    assert!(seen.len() > 60, "only {} advisories", seen.len());
}

async fn fallback_page(server: &TestServer, query: &str) -> plexus_testkit::Answer {
    let path = format!("/_matrix/client/v3/auth/m.login.registration_token/fallback/web?{query}");
    server.request(Method::GET, &path, None, None).await
}

async fn registration_session(server: &TestServer) -> String {
    let answer = server.request(Method::POST, "/_matrix/client/v3/register", None, Some(json!({}))).await;
    answer.body["session"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn pages_cannot_be_framed() {
    let server = TestServer::sqlite().await;
    let session = registration_session(&server).await;
    let welcome = server.request(Method::GET, "/", None, None).await;
    let login = server.request(Method::GET, "/_matrix/static/client/login/", None, None).await;
    for page in [welcome, login, fallback_page(&server, &format!("session={session}")).await] {
        assert_eq!(page.status, 200);
        assert_eq!(page.headers["x-frame-options"], "DENY");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
    }
}

#[tokio::test]
async fn pages_do_not_repeat_what_they_are_given() {
    let server = TestServer::sqlite().await;
    let session = registration_session(&server).await;
    let script = "<script>alert(1)</script>";
    let encoded = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    for query in [format!("session={encoded}"), format!("session={session}&x={encoded}"), encoded.to_owned()] {
        let page = fallback_page(&server, &query).await;
        assert!(!String::from_utf8_lossy(&page.bytes).contains(script), "{page:?}");
    }
    let form = format!("session={session}&token={encoded}");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let path = "/_matrix/client/v3/auth/m.login.registration_token/fallback/web";
    let page = server.send(Method::POST, path, None, &headers, Bytes::from(form)).await;
    assert_eq!(page.status, 401);
    assert!(!String::from_utf8_lossy(&page.bytes).contains(script), "{page:?}");
}

fn routes() -> Vec<Route> {
    let mut routes = plexus_api_client::routes().list().to_vec();
    routes.extend_from_slice(plexus_api_admin::routes().list());
    routes.extend_from_slice(plexus_api_federation::routes::open().list());
    routes.extend_from_slice(plexus_api_federation::routes::for_servers().list());
    routes
}

/// Whether a path has the form of a route.
fn is_route(path: &str, route: &Route) -> bool {
    let (mut asked, mut known) = (path.split('/'), route.path.split('/'));
    loop {
        match (asked.next(), known.next()) {
            (None, None) => return true,
            (Some(_), Some(known)) if known.starts_with("{*") => return true,
            (Some(_), Some(known)) if known.starts_with('{') => {}
            (Some(asked), Some(known)) if asked == known => {}
            _ => return false,
        }
    }
}

/// A proxy that limits or forbids paths must not be passed by others that are served alike.
#[tokio::test]
async fn paths_with_parts_put_in_or_after_are_not_served() {
    let server = TestServer::sqlite().await;
    let routes = routes();
    let mut tried = 0;
    for route in &routes {
        let parts: Vec<&str> =
            route.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
        let path = parts.join("/");
        let inserted = path.replacen("/_matrix/", "/_matrix/inserted/", 1);
        for wrong in [inserted, format!("{path}/after/that"), format!("{path}//"), format!("/{path}")] {
            if wrong == path || routes.iter().any(|route| is_route(&wrong, route)) {
                continue;
            }
            let answer = server.request(route.method.clone(), &wrong, None, None).await;
            assert_eq!(answer.refusal(), (404, "M_UNRECOGNIZED"), "{} {wrong}", route.method);
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried}");
}

#[tokio::test]
async fn receipts_are_of_members_only() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = create(&server, &alice, json!({})).await;
        let event = say(&server, &alice, &room, "hello").await;
        for kind in ["m.read", "m.read.private", "m.fully_read"] {
            let path = room_path(&room, &format!("receipt/{kind}/{event}"));
            assert_eq!(server.post(&path, &bob.token, json!({})).await.refusal(), (403, "M_FORBIDDEN"), "{kind}");
        }
        let markers = json!({ "m.fully_read": event, "m.read": event });
        let refused = server.post(&room_path(&room, "read_markers"), &bob.token, markers).await;
        assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
    }
}

/// Endpoints whose path names a user, asked by another one.
#[tokio::test]
async fn nothing_is_done_in_the_name_of_another_user() {
    for server in TestServer::on_each().await {
        let (alice, mallory) = (server.register("alice").await, server.register("mallory").await);
        let room = public_room(&server, &alice).await;
        join(&server, &mallory, &room).await;
        let alias = format!("%23alices%3A{}", server.name());
        let make = json!({ "room_id": room });
        server.put(&format!("/_matrix/client/v3/directory/room/{alias}"), &alice.token, make).await.ok();
        let of_alice = format!("/_matrix/client/v3/user/{}", alice.id);
        let cases = [
            (Method::PUT, format!("{of_alice}/account_data/m.direct"), json!({})),
            (Method::GET, format!("{of_alice}/account_data/m.direct"), Value::Null),
            (Method::PUT, format!("{of_alice}/rooms/{room}/account_data/m.tag"), json!({})),
            (Method::PUT, format!("{of_alice}/rooms/{room}/tags/m.favourite"), json!({})),
            (Method::DELETE, format!("{of_alice}/rooms/{room}/tags/m.favourite"), Value::Null),
            (Method::POST, format!("{of_alice}/filter"), json!({})),
            (Method::PUT, format!("/_matrix/client/v3/presence/{}/status", alice.id), json!({ "presence": "online" })),
            (
                Method::PUT,
                format!("/_matrix/client/v3/profile/{}/displayname", alice.id),
                json!({ "displayname": "x" }),
            ),
            (
                Method::PUT,
                room_path(&room, &format!("typing/{}", alice.id)),
                json!({ "typing": true, "timeout": 1000 }),
            ),
            (Method::DELETE, format!("/_matrix/client/v3/directory/room/{alias}"), Value::Null),
            (Method::POST, "/_matrix/client/v3/keys/device_signing/upload".to_owned(), cross_signing_of(&alice)),
        ];
        for (method, path, body) in cases {
            let body = (!body.is_null()).then_some(body);
            let answer = server.request(method.clone(), &path, Some(&mallory.token), body).await;
            assert!([400, 401, 403].contains(&answer.status), "{method} {path}: {answer:?}");
        }
        let devices = server.get(&format!("/_matrix/client/v3/devices/{}", alice.device_id), &mallory.token).await;
        assert_eq!(devices.refusal(), (404, "M_NOT_FOUND"));
    }
}

fn cross_signing_of(user: &TestUser) -> Value {
    let key = "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    json!({ "master_key": {
        "user_id": user.id, "usage": ["master"], "keys": { key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
    } })
}

#[tokio::test]
async fn a_page_of_hidden_events_does_not_end_the_history() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        say(&server, &alice, &room, "seen by everybody").await;
        let visibility = |value: &str| json!({ "history_visibility": value });
        let state = room_path(&room, "state/m.room.history_visibility");
        server.put(&state, &alice.token, visibility("joined")).await.ok();
        for number in 0..30 {
            say(&server, &alice, &room, &format!("hidden {number}")).await;
        }
        server.put(&state, &alice.token, visibility("shared")).await.ok();
        join(&server, &bob, &room).await;
        let (mut from, mut found) = (String::new(), Vec::new());
        for _ in 0..40 {
            let page = server.get(&room_path(&room, &format!("messages?dir=b&limit=5{from}")), &bob.token).await;
            found.extend(crate::client::bodies(&page.ok()["chunk"]).into_iter().map(str::to_owned));
            let Some(end) = page.body["end"].as_str() else { break };
            from = format!("&from={end}");
        }
        assert_eq!(found, ["seen by everybody"]);
        send(&server, &bob, &room, "m.room.message", json!({ "msgtype": "m.text", "body": "done" })).await.ok();
    }
}

#[tokio::test]
async fn pipelined_responses_come_in_order() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    // The first takes longest: it waits for something new.
    let head = |path: &str, last: bool| {
        let close = if last { "Connection: close\r\n" } else { "" };
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n{close}\r\n", alice.token)
    };
    let since = server.get("/_matrix/client/v3/sync", &alice.token).await.ok()["next_batch"].clone();
    let slow = format!("/_matrix/client/v3/sync?timeout=300&since={}", since.as_str().unwrap());
    let requests = [
        head(&slow, false),
        head("/_matrix/client/versions", false),
        head("/_matrix/client/v3/account/whoami", false),
        head("/_matrix/client/v3/nothing", true),
    ];
    stream.write_all(requests.concat().as_bytes()).await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    let found: Vec<usize> = ["next_batch", "\"versions\"", "\"user_id\"", "M_UNRECOGNIZED"]
        .iter()
        .map(|text| all.find(text).unwrap_or_else(|| panic!("{text} is missing: {all}")))
        .collect();
    assert!(found.is_sorted(), "{all}");
}
