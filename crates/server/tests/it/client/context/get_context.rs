//! `GET /rooms/{room_id}/context/{event_id}`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{bodies, create, join, public_room, room_path, say};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_its_context() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let mut ids = Vec::new();
        for number in 0..9 {
            ids.push(say(&server, &alice, &room, &number.to_string()).await);
        }
        let query = format!("context/{}?limit=4", ids[4]);
        let context = server.get(&room_path(&room, &query), &alice.token).await;
        assert_eq!(context.ok()["event"]["content"]["body"], "4");
        assert_eq!(bodies(&context.body["events_before"]), ["3", "2"]);
        assert_eq!(bodies(&context.body["events_after"]), ["5", "6"]);
        assert!(context.body["state"].as_array().is_some_and(|state| state.len() >= 6));
        let end = context.body["end"].as_str().unwrap_or_default();
        let page = server.get(&room_path(&room, &format!("messages?dir=f&limit=1&from={end}")), &alice.token).await;
        assert_eq!(bodies(&page.ok()["chunk"]), ["7"]);
        let start = context.body["start"].as_str().unwrap_or_default();
        let page = server.get(&room_path(&room, &format!("messages?dir=b&limit=1&from={start}")), &alice.token).await;
        assert_eq!(bodies(&page.ok()["chunk"]), ["1"]);
        let missing = server.get(&room_path(&room, "context/$none"), &alice.token).await;
        assert_eq!(missing.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_before_and_after_a_membership() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for (visibility, expected) in [
            ("world_readable", vec!["before", "during", "after"]),
            ("shared", vec!["before", "during"]),
            ("invited", vec!["during"]),
            ("joined", vec!["during"]),
        ] {
            let body = json!({
                "preset": "public_chat",
                "initial_state": [{
                    "type": "m.room.history_visibility", "content": { "history_visibility": visibility },
                }],
            });
            let room = create(&server, &alice, body).await;
            say(&server, &alice, &room, "before").await;
            join(&server, &bob, &room).await;
            say(&server, &alice, &room, "during").await;
            server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
            let after = say(&server, &alice, &room, "after").await;
            let upto = if visibility == "world_readable" { 3 } else { expected.len() };
            let page = server.get(&room_path(&room, "messages?dir=f&limit=100"), &bob.token).await;
            let seen = bodies(&page.ok()["chunk"]);
            // Who has left pages up to where they left, also in a room that they could peek into.
            assert_eq!(seen, expected[..upto.min(seen.len())], "{visibility}");
            let event = server.get(&room_path(&room, &format!("event/{after}")), &bob.token).await;
            assert_eq!(event.status == 200, visibility == "world_readable", "{visibility}");
        }
    }
}
