//! Simplified sliding sync (MSC4186), in the form that matrix-rust-sdk sends, and in that of the accepted proposal.

mod connections;
mod extensions;
mod limits;
mod lists;
mod replay;
mod rooms;
mod stable;

use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::{Value, json};

const PATH: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";

/// A request that is answered at once.
async fn request(server: &TestServer, user: &TestUser, pos: Option<&str>, body: Value) -> Answer {
    let pos = pos.map(|pos| format!("&pos={pos}")).unwrap_or_default();
    server.post(&format!("{PATH}?timeout=0{pos}"), &user.token, body).await
}

/// The response to a request that succeeds.
async fn sliding(server: &TestServer, user: &TestUser, pos: Option<&str>, body: Value) -> Value {
    request(server, user, pos, body).await.ok().clone()
}

fn pos(response: &Value) -> &str {
    response["pos"].as_str().expect("a position")
}

/// A request for one list of rooms with members that are lazily loaded.
fn list(first: usize, last: usize, timeline_limit: usize) -> Value {
    json!({ "lists": { "all": {
        "ranges": [[first, last]],
        "timeline_limit": timeline_limit,
        "required_state": [["m.room.member", "$LAZY"], ["m.room.member", "$ME"], ["m.room.name", ""]],
    } } })
}

/// The bodies of the messages in a room's timeline.
fn bodies(room: &Value) -> Vec<&str> {
    let events = room["timeline"].as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// Type and state key of a room's required state, in order.
fn required(room: &Value) -> Vec<(&str, &str)> {
    let events = room["required_state"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut keys: Vec<(&str, &str)> =
        events.iter().filter_map(|event| Some((event["type"].as_str()?, event["state_key"].as_str()?))).collect();
    keys.sort_unstable();
    keys
}
