//! Rooms over HTTP.

mod auto_join;
mod creating;
mod directory;
pub(crate) mod erasure;
mod guests;
mod history;
mod members;
mod profiles;
mod sending;
mod standing;
mod upgrading;
mod user_directory;
pub(crate) mod values;

use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::{Value, json};

/// A path of the client-server API about a room.
pub(crate) fn path(room: &str, rest: &str) -> String {
    format!("/_matrix/client/v3/rooms/{room}/{rest}")
}

pub(crate) async fn create(server: &TestServer, user: &TestUser, body: Value) -> String {
    let answer = server.post("/_matrix/client/v3/createRoom", &user.token, body).await;
    answer.ok()["room_id"].as_str().unwrap_or_default().to_owned()
}

/// A room that anybody may join.
pub(crate) async fn public_room(server: &TestServer, user: &TestUser) -> String {
    create(server, user, json!({ "preset": "public_chat" })).await
}

pub(crate) async fn join(server: &TestServer, user: &TestUser, room: &str) {
    server.post(&path(room, "join"), &user.token, json!({})).await.ok();
}

/// Sends a text message and returns its id.
pub(crate) async fn say(server: &TestServer, user: &TestUser, room: &str, text: &str) -> String {
    let content = json!({ "msgtype": "m.text", "body": text });
    let answer = send(server, user, room, "m.room.message", content).await;
    answer.ok()["event_id"].as_str().unwrap_or_default().to_owned()
}

pub(crate) async fn send(server: &TestServer, user: &TestUser, room: &str, event_type: &str, content: Value) -> Answer {
    let txn = plexus_testkit::unique_name();
    server.put(&path(room, &format!("send/{event_type}/{txn}")), &user.token, content).await
}

async fn state(server: &TestServer, user: &TestUser, room: &str, key: &str) -> Answer {
    server.get(&path(room, &format!("state/{key}")), &user.token).await
}

/// The bodies of the messages among events.
pub(crate) fn bodies(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}
