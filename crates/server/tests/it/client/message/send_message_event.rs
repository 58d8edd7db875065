//! `PUT /rooms/{room_id}/send/{event_type}/{txn_id}`, `POST /rooms/{room_id}/send/{event_type}`.

use plexus_testkit::server::{Answer, TestServer};
use serde_json::json;

use crate::client::{bodies, create, public_room, room_path};

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_answered_twice_and_made_once() {
    for mut server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let content = json!({ "msgtype": "m.text", "body": "once" });
        let send = room_path(&room, "send/m.room.message/1");
        let first = server.put(&send, &alice.token, content.clone()).await.ok()["event_id"].clone();
        assert_eq!(server.put(&send, &alice.token, content.clone()).await.ok()["event_id"], first);
        server.restart().await;
        assert_eq!(server.put(&send, &alice.token, content).await.ok()["event_id"], first);
        let answer = server.get(&room_path(&room, "messages?dir=b&limit=100"), &alice.token).await;
        assert_eq!(bodies(&answer.ok()["chunk"]), ["once"]);
        let event = &answer.body["chunk"][0];
        assert_eq!(event["unsigned"]["transaction_id"], "1");
        assert_eq!(event["unsigned"]["membership"], "join");
        assert!(event["unsigned"]["age"].is_number());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_id_belongs_to_its_device_and_room() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let phone = server.log_in("alice").await;
        let (room, other) = (public_room(&server, &alice).await, public_room(&server, &alice).await);
        let content = json!({ "msgtype": "m.text", "body": "each" });
        let long = "x".repeat(255);
        for id in ["1", "%F0%9F%98%80", long.as_str()] {
            let mut made = Vec::new();
            for (token, room) in [(&alice.token, &room), (&phone.token, &room), (&alice.token, &other)] {
                let send = room_path(room, &format!("send/m.room.message/{id}"));
                let event = server.put(&send, token, content.clone()).await.ok()["event_id"].clone();
                assert!(!made.contains(&event));
                made.push(event);
            }
        }
        let too_long = room_path(&room, &format!("send/m.room.message/{long}x"));
        assert_eq!(server.put(&too_long, &alice.token, content).await.refusal(), (400, "M_INVALID_PARAM"));
    }
}

#[tokio::test]
async fn events_are_sent_and_redacted_without_a_transaction() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = create(&server, &alice, json!({})).await;
        let content = json!({ "msgtype": "m.text", "body": "x" });
        let send = room_path(&room, "send/m.room.message");
        let id = |answer: &Answer| answer.ok()["event_id"].as_str().expect("an event").to_owned();
        let first = id(&server.post(&send, &alice.token, content.clone()).await);
        let second = id(&server.post(&send, &alice.token, content.clone()).await);
        assert_ne!(first, second);
        assert_eq!(server.post(&send, &bob.token, content.clone()).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(server.put(&send, &alice.token, content).await.refusal(), (405, "M_UNRECOGNIZED"));

        let redact = room_path(&room, &format!("redact/{first}"));
        assert_eq!(server.post(&redact, &bob.token, json!({})).await.refusal(), (403, "M_FORBIDDEN"));
        id(&server.post(&redact, &alice.token, json!({ "reason": "wrong" })).await);
        let redacted = server.get(&room_path(&room, &format!("event/{first}")), &alice.token).await;
        assert_eq!(redacted.ok()["content"], json!({}));
        assert_eq!(redacted.ok()["unsigned"]["redacted_because"]["content"]["reason"], "wrong");
    }
}
