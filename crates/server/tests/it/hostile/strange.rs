//! Every endpoint of the server-server API, asked with everything that it should not be asked with.

use bytes::Bytes;
use http::Method;

use super::*;

/// What stands in place of each parameter where it fits.
pub(super) fn fitting(stage: &Stage, name: &str, event: &str) -> String {
    match name {
        "room_id" => stage.room.replace('!', "%21"),
        "user_id" => stage.liar.mallory.replace('@', "%40"),
        "event_id" => event.replace('$', "%24"),
        "server_name" => stage.liar.peer.name().as_str().to_owned(),
        "query_type" => "custom".to_owned(),
        _ => unique_name(),
    }
}

pub(super) fn filled(path: &str, value: impl Fn(&str) -> String) -> String {
    let fill = |segment: &str| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        Some(name) => value(name),
        None => segment.to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

const STRANGE: [&str; 8] =
    ["%00", "x", "%20%2F..%2F%F0%9F%98%80", "%21x%3Ay", "%40x%3Ay", "%24x%3Ay", "%FF%FE", "%E2%80%AE%3A%E2%80%AE"];

const QUERIES: [&str; 4] = [
    "",
    "?limit=-1&v=x&event_id=x&user_id=x&room_alias=x&ts=x&dir=x&ver=%00&field=%00&suggested_only=maybe&since=x",
    "?limit=99999999999999999999&v=&event_id=&user_id=&room_alias=&ts=-1&dir=&omit_members=2&minimum_valid_until_ts=x",
    "?v[]=1&%FF=%FF&=&&&limit&event_id&user_id=%40a%3Atest.example&user_id=%40b%3Atest.example",
];

/// A value of every JSON type, for every field that any endpoint knows.
fn bodies(long: &str) -> Vec<String> {
    let fields = [
        "pdus",
        "edus",
        "origin",
        "origin_server_ts",
        "earliest_events",
        "latest_events",
        "limit",
        "min_depth",
        "event",
        "room_version",
        "invite_room_state",
        "room_id",
        "sender",
        "state_key",
        "type",
        "content",
        "depth",
        "prev_events",
        "auth_events",
        "hashes",
        "signatures",
        "device_keys",
        "one_time_keys",
        "server_keys",
        "filter",
        "since",
        "include_all_networks",
        "third_party_instance_id",
        "unsigned",
        "event_id",
    ];
    let values = [
        "null",
        "true",
        "1",
        "-1",
        "1.5",
        "1e400",
        "\"\"",
        "\"x\"",
        "[]",
        "[null]",
        "[[]]",
        "[{}]",
        "{}",
        "{\"\":{}}",
        "{\"@a:test.example\":null}",
        "{\"@a:test.example\":{\"A\":1}}",
        "{\"x\":[1]}",
        "18446744073709551616",
    ];
    let long = format!("\"{long}\"");
    let mut bodies: Vec<String> = values
        .iter()
        .copied()
        .chain([long.as_str()])
        .map(|value| {
            let members: Vec<String> = fields.iter().map(|field| format!("\"{field}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        })
        .collect();
    bodies.extend(["{}", "", "{", "[]", "null", "\"x\"", "{\"pdus\":[]", "{\"a\":\"\\ud800\"}"].map(str::to_owned));
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_the_other_servers_fault() {
    for place in plexus_testkit::places() {
        let stage = Stage::closed(place).await;
        let (event, bodies) = (stage.newest().await, bodies(&"x".repeat(100_000)));
        let routes = [plexus_api_federation::routes::for_servers(), plexus_api_federation::routes::open()];
        let mut wrong = Vec::new();
        for route in routes.iter().flat_map(|routes| routes.list()) {
            let right = || filled(&route.path, |name| fitting(&stage, name, &event));
            let mut asked: Vec<(String, &str)> =
                QUERIES.iter().map(|query| (format!("{}{query}", right()), "{}")).collect();
            asked.extend(STRANGE.iter().map(|strange| (filled(&route.path, |_| (*strange).to_owned()), "{}")));
            if route.method != Method::GET {
                asked.extend(bodies.iter().map(|body| (right(), body.as_str())));
            }
            for (path, body) in asked {
                let answer = ask(&stage, &route.method, &path, body).await;
                let refused = answer.body["errcode"].as_str().is_some_and(|code| code.starts_with("M_"));
                // A name that leads nowhere is nobody's fault.
                let unreachable = answer.status == 502 && path.starts_with("/_matrix/key/");
                if answer.status >= 400 && !refused || answer.status >= 500 && !unreachable {
                    wrong.push(format!("{} {path:.200} {body:.200}: {answer:?}", route.method));
                }
            }
        }
        assert!(wrong.is_empty(), "{} wrong answers: {wrong:#?}", wrong.len());
        stage.is_usable().await;
    }
}

pub(super) async fn ask(stage: &Stage, method: &Method, path: &str, body: &str) -> Answer {
    let peer = &stage.liar.peer;
    let answer = if *method == Method::GET {
        let header = peer.authorization(&stage.server, method, path, None);
        let headers = [("Authorization", header.as_str())];
        let send = stage.server.send(method.clone(), path, None, &headers, Bytes::new());
        plexus_testkit::within(BOUND, send).await
    } else {
        plexus_testkit::within(BOUND, peer.request_text(&stage.server, method.clone(), path, body)).await
    };
    answer.unwrap_or_else(|_| panic!("{method} {path:.200} {body:.200} was not answered"))
}
