//! What clients get from `/sync`, over HTTP.

mod account_data;
mod ephemeral;
mod forgetting;
mod prejoin;
pub(crate) mod push;
mod syncing;

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

const CLIENT: &str = "/_matrix/client/v3";

/// A `GET /sync` that answers at once; `parameters` begin with `&`.
async fn sync(server: &TestServer, user: &TestUser, since: Option<&str>, parameters: &str) -> Value {
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    let answer = server.get(&format!("{CLIENT}/sync?timeout=0{since}{parameters}"), &user.token).await;
    answer.ok().clone()
}

fn next_batch(answer: &Value) -> &str {
    answer["next_batch"].as_str().expect("a token")
}

async fn public_room(server: &TestServer, user: &TestUser) -> String {
    let body = json!({ "preset": "public_chat" });
    let answer = server.post(&format!("{CLIENT}/createRoom"), &user.token, body).await;
    answer.ok()["room_id"].as_str().expect("a room id").to_owned()
}

async fn join(server: &TestServer, user: &TestUser, room: &str) {
    server.post(&format!("{CLIENT}/rooms/{room}/join"), &user.token, json!({})).await.ok();
}

async fn say(server: &TestServer, user: &TestUser, room: &str, text: &str) -> String {
    let path = format!("{CLIENT}/rooms/{room}/send/m.room.message/{}", plexus_testkit::unique_name());
    let answer = server.put(&path, &user.token, json!({ "msgtype": "m.text", "body": text })).await;
    answer.ok()["event_id"].as_str().expect("an event id").to_owned()
}

/// A server, two users, and a room with both in it.
async fn two_in_a_room(server: &TestServer) -> (TestUser, TestUser, String) {
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(server, &alice).await;
    join(server, &bob, &room).await;
    (alice, bob, room)
}

/// The first event of a type among a section's.
fn event<'a>(section: &'a Value, event_type: &str) -> Option<&'a Value> {
    section["events"].as_array()?.iter().find(|event| event["type"] == event_type)
}
