//! What clients read of a room.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::json;

use super::{Snapshot, servers, sorted};
use crate::client::{create, join, room_path};

/// A room of Alice's and Bob's with a message, an edit of it, a reaction to it, and a redacted message; and the first
/// message.
async fn furnished(server: &TestServer, alice: &TestUser, bob: &TestUser) -> (String, String) {
    let body = json!({ "name": "Room", "preset": "public_chat", "room_version": "12" });
    let room = create(server, alice, body).await;
    join(server, bob, &room).await;
    let send = async |user: &TestUser, kind: &str, txn: &str, content| {
        let path = room_path(&room, &format!("send/{kind}/{txn}"));
        server.put(&path, &user.token, content).await.ok()["event_id"].as_str().expect("an event id").to_owned()
    };
    let first = send(alice, "m.room.message", "1", json!({ "msgtype": "m.text", "body": "first" })).await;
    let edit = json!({
        "msgtype": "m.text", "body": "* edited", "m.new_content": { "msgtype": "m.text", "body": "edited" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": first },
    });
    send(alice, "m.room.message", "2", edit).await;
    let reaction = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": first, "key": "+" } });
    send(bob, "m.reaction", "3", reaction).await;
    let wrong = send(bob, "m.room.message", "4", json!({ "msgtype": "m.text", "body": "wrong" })).await;
    let redact = room_path(&room, &format!("redact/{wrong}/5"));
    server.put(&redact, &bob.token, json!({ "reason": "wrong" })).await.ok();
    (room, first)
}

#[tokio::test]
async fn reading() {
    for server in servers("").await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (room, first) = furnished(&server, &alice, &bob).await;
        let get = async |rest: &str| server.get(&room_path(&room, rest), &alice.token).await;
        let mut snapshot = Snapshot::new("room_messages");
        snapshot.add("messages, backwards", &get("messages?dir=b&limit=20").await);
        snapshot.add("messages, the first two", &get("messages?dir=f&limit=2").await);
        snapshot.assert();

        let mut snapshot = Snapshot::new("room_event");
        snapshot.add("event", &get(&format!("event/{first}")).await);
        let mut context = get(&format!("context/{first}?limit=4")).await;
        context.body["state"] = sorted(&context.body["state"]);
        snapshot.add("context", &context);
        snapshot.assert();

        let mut snapshot = Snapshot::new("room_state");
        snapshot.add_body("state", 200, &sorted(get("state").await.ok()));
        snapshot.add("state of a type", &get("state/m.room.name/").await);
        snapshot.add("state of a type, as an event", &get("state/m.room.name/?format=event").await);
        let mut members = get("members").await;
        members.body["chunk"] = sorted(&members.body["chunk"]);
        snapshot.add("members", &members);
        snapshot.add("joined members", &get("joined_members").await);
        snapshot.assert();
    }
}
