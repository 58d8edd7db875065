//! `GET /sync`.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use super::{Snapshot, servers};
use crate::client::{CLIENT, create, join, next_batch, room_path, sync};

/// A room with a name, a topic and a message.
async fn furnished(server: &TestServer, alice: &TestUser, more: Value) -> String {
    let mut body = json!({ "name": "Room", "topic": "All of it", "preset": "public_chat", "room_version": "12" });
    body.as_object_mut().into_iter().for_each(|body| body.extend(more.as_object().cloned().unwrap_or_default()));
    let room = create(server, alice, body).await;
    say(server, alice, &room, "first").await;
    room
}

/// Sends a text message under a transaction id that is the text.
async fn say(server: &TestServer, user: &TestUser, room: &str, text: &str) -> String {
    let path = room_path(room, &format!("send/m.room.message/{text}"));
    let answer = server.put(&path, &user.token, json!({ "msgtype": "m.text", "body": text })).await;
    answer.ok()["event_id"].as_str().expect("an event id").to_owned()
}

#[tokio::test]
async fn the_first_sync() {
    for server in servers("").await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = furnished(&server, &alice, json!({})).await;
        join(&server, &bob, &room).await;
        say(&server, &bob, &room, "second").await;
        let mut snapshot = Snapshot::new("sync_initial");
        snapshot.add_body("as the creator", 200, &sync(&server, &alice, None, "").await);
        let filter = json!({ "room": { "timeline": { "limit": 1 }, "state": { "lazy_load_members": true } } });
        let filter =
            format!("&filter={}", filter.to_string().replace('"', "%22").replace('{', "%7B").replace('}', "%7D"));
        snapshot.add_body("one event, lazily loaded members", 200, &sync(&server, &alice, None, &filter).await);
        snapshot.assert();
    }
}

#[tokio::test]
async fn every_section() {
    for server in servers("").await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = furnished(&server, &alice, json!({})).await;
        join(&server, &bob, &room).await;
        let before = sync(&server, &alice, None, "").await;
        let event = say(&server, &bob, &room, "second").await;
        let put = async |user: &TestUser, path: &str, body: Value| {
            server.put(&format!("{CLIENT}/{path}"), &user.token, body).await.ok();
        };
        put(&bob, &format!("rooms/{room}/typing/{}", bob.id), json!({ "typing": true, "timeout": 30_000 })).await;
        put(&alice, &format!("user/{}/account_data/org.example", alice.id), json!({ "a": 1 })).await;
        put(&alice, &format!("user/{}/rooms/{room}/account_data/org.example", alice.id), json!({ "b": 2 })).await;
        put(&alice, &format!("user/{}/rooms/{room}/tags/m.favourite", alice.id), json!({ "order": 0.5 })).await;
        put(&bob, &format!("presence/{}/status", bob.id), json!({ "presence": "online", "status_msg": "here" })).await;
        put(&bob, "sendToDevice/org.example/1", json!({ "messages": { &alice.id: { "*": { "c": 3 } } } })).await;
        let receipt = room_path(&room, &format!("receipt/m.read/{event}"));
        server.post(&receipt, &bob.token, json!({})).await.ok();
        let mut snapshot = Snapshot::new("sync_every_section");
        let after = sync(&server, &alice, Some(next_batch(&before)), "").await;
        snapshot.add_body("what changed", 200, &after);
        snapshot.add_body("nothing", 200, &sync(&server, &alice, Some(next_batch(&after)), "").await);
        snapshot.assert();
    }
}

#[tokio::test]
async fn rooms_a_user_is_not_in() {
    for server in servers("").await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let mut snapshot = Snapshot::new("sync_invite_knock_leave");
        let room = furnished(&server, &alice, json!({ "preset": "private_chat", "invite": [bob.id] })).await;
        let invited = sync(&server, &bob, None, "").await;
        snapshot.add_body("invited", 200, &invited["rooms"]);
        server.post(&room_path(&room, "leave"), &bob.token, json!({ "reason": "no" })).await.ok();
        let rules = json!({ "join_rule": "knock" });
        server.put(&room_path(&room, "state/m.room.join_rules/"), &alice.token, rules).await.ok();
        let declined = sync(&server, &bob, Some(next_batch(&invited)), "").await;
        snapshot.add_body("the invite declined", 200, &declined["rooms"]);
        server.post(&format!("{CLIENT}/knock/{room}"), &bob.token, json!({ "reason": "please" })).await.ok();
        let knocked = sync(&server, &bob, Some(next_batch(&declined)), "").await;
        snapshot.add_body("knocked", 200, &knocked["rooms"]);
        server.post(&room_path(&room, "invite"), &alice.token, json!({ "user_id": bob.id })).await.ok();
        join(&server, &bob, &room).await;
        let joined = sync(&server, &bob, Some(next_batch(&knocked)), "").await;
        snapshot.add_body("joined", 200, &joined["rooms"]);
        let ban = json!({ "user_id": bob.id, "reason": "rude" });
        server.post(&room_path(&room, "ban"), &alice.token, ban).await.ok();
        say(&server, &alice, &room, "unseen").await;
        let banned = sync(&server, &bob, Some(next_batch(&joined)), "").await;
        snapshot.add_body("banned", 200, &banned["rooms"]);
        let archived = "&filter=%7B%22room%22:%7B%22include_leave%22:true%7D%7D";
        snapshot.add_body("left rooms included", 200, &sync(&server, &bob, None, archived).await["rooms"]);
        snapshot.assert();
    }
}
