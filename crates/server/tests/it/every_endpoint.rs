//! Rules that hold for every endpoint, tested on every endpoint.

mod generated;
pub(crate) mod nul;

use bytes::Bytes;
use http::Method;
use plexus_testkit::{TestServer, TestUser};
use serde_json::json;

const SPECIFIED: &str = include_str!("../data/client-server-1.19.tsv");

/// The served client endpoints: method and path with its parameters.
fn endpoints() -> Vec<(Method, String)> {
    let routes = plexus_api_client::routes();
    routes.list().iter().map(|route| (route.method.clone(), route.path.clone())).collect()
}

/// The path with each parameter replaced by what `value` says for it.
fn filled(path: &str, value: impl Fn(&str) -> String) -> String {
    let fill = |segment: &str| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        Some(name) => value(name),
        None => segment.to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

/// Values that fit: of the user and the room that are there.
fn fitting(name: &str, user: &TestUser, room: &str) -> String {
    match name {
        "user_id" => user.id.replace('@', "%40"),
        "room_id" | "room_id_or_alias" => room.replace('!', "%21"),
        "device_id" => user.device_id.clone(),
        "event_id" => "$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE".to_owned(),
        "room_alias" => "%23nowhere%3Atest.example".to_owned(),
        "server_name" => "test.example".to_owned(),
        "receipt_type" => "m.read".to_owned(),
        "filter_id" | "version" => "1".to_owned(),
        "kind" => "room".to_owned(),
        _ => "m.something".to_owned(),
    }
}

#[tokio::test]
async fn endpoints_that_need_a_token_refuse_requests_without_one() {
    let server = TestServer::sqlite().await;
    let nameless = |path: &str| filled(path, |_| "{}".to_owned());
    let served = endpoints();
    let mut asked = 0;
    for line in SPECIFIED.lines().filter(|line| line.ends_with("\tyes")) {
        let mut fields = line.split('\t');
        let (Some(method), Some(path)) = (fields.next(), fields.next()) else { continue };
        let same = |(served_method, served_path): &&(Method, String)| {
            served_method.as_str() == method && nameless(served_path) == nameless(path)
        };
        let Some((method, path)) = served.iter().find(same) else { continue };
        // "Servers MAY allow unauthenticated access to this API" (room summaries).
        if path.contains("/room_summary/") {
            continue;
        }
        let path = filled(path, |name| {
            let user = TestUser { id: "@a:test.example".into(), token: String::new(), device_id: "A".into() };
            fitting(name, &user, "!a:test.example")
        });
        let answer = server.request(method.clone(), &path, None, Some(json!({}))).await;
        assert_eq!(answer.refusal(), (401, "M_MISSING_TOKEN"), "{method} {path}");
        let answer = server.request(method.clone(), &path, Some("wrong"), Some(json!({}))).await;
        assert_eq!(answer.refusal(), (401, "M_UNKNOWN_TOKEN"), "{method} {path}");
        asked += 1;
    }
    assert!(asked > 100, "only {asked} endpoints were asked");
}

/// What no path parameter should be.
const STRANGE: [&str; 5] = ["%00", "x", "%20%2F..%2F%F0%9F%98%80", "%21x%3Ay", "%40x%3Ay"];
const QUERIES: [&str; 2] =
    ["", "?limit=-1&from=x&dir=z&since=x&filter={&ts=a&width=x&timeout=99999999999999999999&via=%00"];
const BODIES: [&[u8]; 10] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\"\xff\"",
    b"{}",
    br#"{"type": 1, "auth": [], "user_id": {}, "keys": 5, "device_keys": [], "messages": {"": null}, "id": {}}"#,
    br#"{"user_id": "nobody", "room_id": "", "reason": null, "name": "\u0000", "visibility": "x", "version": 7}"#,
    br#"{"timeout": -1, "typing": "yes", "limit": 1e400, "actions": [{}], "presence": 0, "url": "\ud800"}"#,
    br#"{"a": 99999999999999999999999999, "b": 0.5, "m.fully_read": {}, "devices": "x", "password": null}"#,
];

/// Every strange body and query at the right path, and every strange path.
fn nonsense(path: &str, fit: impl Fn(&str) -> String) -> Vec<(String, Bytes)> {
    let at = |path: &str, query: &str, body: &'static [u8]| (format!("{path}{query}"), Bytes::from_static(body));
    let right = filled(path, fit);
    let bodies = QUERIES.iter().flat_map(|query| BODIES.iter().map(|body| at(&right, query, body)));
    let paths = STRANGE.iter().map(|strange| at(&filled(path, |_| (*strange).to_owned()), "", b"{}"));
    bodies.chain(paths).collect()
}

#[tokio::test]
async fn nonsense_is_the_clients_fault() {
    for place in plexus_testkit::places() {
        // Names of servers that nobody has are not looked up.
        let server = TestServer::on(place).config("federation_domain_whitelist: []").start().await;
        let mut user = server.register("alice").await;
        let room = server.post("/_matrix/client/v3/createRoom", &user.token, json!({})).await;
        let room = room.ok()["room_id"].as_str().unwrap_or_default().to_owned();
        let mut failed = Vec::new();
        // The same handlers are served under r0 and unstable, too.
        for (method, path) in
            endpoints().iter().filter(|(_, path)| !path.contains("/r0/") && !path.contains("/unstable/"))
        {
            for (mut path, body) in nonsense(path, |name| fitting(name, &user, &room)) {
                if path.starts_with("/_matrix/client/v3/events") && !path.contains("timeout") {
                    // It waits half a minute otherwise.
                    path.push_str(if path.contains('?') { "&timeout=0" } else { "?timeout=0" });
                }
                let answer = server.send(method.clone(), &path, Some(&user.token), &[], body.clone()).await;
                if answer.status >= 500 || (answer.status >= 400 && !answer.body.is_object()) {
                    failed.push(format!("{method} {path} {body:?}: {answer:?}"));
                }
                if answer.status == 200 && path.contains("/logout") {
                    user = server.log_in("alice").await;
                }
            }
        }
        assert!(failed.is_empty(), "{} wrong answers: {failed:#?}", failed.len());
    }
}
