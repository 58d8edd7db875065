//! `PUT /rooms/{room_id}/redact/{event_id}/{txn_id}`, `POST /rooms/{room_id}/redact/{event_id}`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{create, join, room_path, say, send};

#[tokio::test(flavor = "multi_thread")]
async fn redaction_by_endpoint_and_as_an_event() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for version in ["10", "12"] {
        let room = create(&server, &alice, json!({ "preset": "public_chat", "room_version": version })).await;
        join(&server, &bob, &room).await;
        let (one, two) = (say(&server, &bob, &room, "one").await, say(&server, &bob, &room, "two").await);
        let mine = say(&server, &alice, &room, "mine").await;
        let refused = server.put(&room_path(&room, &format!("redact/{mine}/1")), &bob.token, json!({})).await;
        assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
        let redact = room_path(&room, &format!("redact/{one}/2"));
        let redaction = server.put(&redact, &alice.token, json!({ "reason": "spam" })).await;
        let redaction = redaction.ok()["event_id"].clone();
        send(&server, &bob, &room, "m.room.redaction", json!({ "redacts": two })).await.ok();
        for id in [&one, &two] {
            let event = server.get(&room_path(&room, &format!("event/{id}")), &alice.token).await;
            assert_eq!(event.ok()["content"], json!({}));
            assert_eq!(event.body["unsigned"]["redacted_because"]["type"], "m.room.redaction");
            assert_eq!(event.body["unsigned"]["redacted_because"]["redacts"], json!(id));
        }
        let redaction = redaction.as_str().unwrap_or_default();
        let event = server.get(&room_path(&room, &format!("event/{redaction}")), &bob.token).await;
        assert_eq!(event.ok()["content"]["reason"], "spam");
        let nothing = send(&server, &bob, &room, "m.room.redaction", json!({})).await;
        assert_eq!(nothing.refusal(), (400, "M_MISSING_PARAM"));
    }
}

/// Other servers redact by it, and look only at whether the sender is of the same server as what is redacted.
#[tokio::test(flavor = "multi_thread")]
async fn a_redaction_with_a_state_key_is_a_redaction() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let levels = json!({ "state_default": 0 });
        let body = json!({ "preset": "public_chat", "room_version": "11", "power_level_content_override": levels });
        let room = create(&server, &alice, body).await;
        join(&server, &bob, &room).await;
        let (hers, his) = (say(&server, &alice, &room, "hers").await, say(&server, &bob, &room, "his").await);
        let redact = async |id: &str| {
            server.put(&room_path(&room, "state/m.room.redaction/x"), &bob.token, json!({ "redacts": id })).await
        };
        assert_eq!(redact(&hers).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(redact("nothing").await.refusal(), (400, "M_MISSING_PARAM"));
        redact(&his).await.ok();
        let content = async |id: &str| {
            server.get(&room_path(&room, &format!("event/{id}")), &alice.token).await.ok()["content"].clone()
        };
        assert_eq!((&content(&hers).await["body"], content(&his).await), (&json!("hers"), json!({})));
    }
}
