//! Values that nobody may send from here, but that other servers have sent: the room goes on with them.

use super::*;

/// A state event of Mallory's.
async fn state(stage: &Stage, event_type: &str, content: Value) -> Value {
    stage
        .lie(|event| {
            event["type"] = json!(event_type);
            event["state_key"] = json!("");
            event["content"] = content;
        })
        .await
}

#[tokio::test]
async fn broken_values_of_others_are_kept_and_do_not_keep_a_room_from_being_upgraded() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "9", "").await;
        let (server, alice, mallory) = (&stage.server, &stage.alice, &stage.liar.mallory);
        let path = |rest: &str| format!("{CLIENT}/rooms/{}/{rest}", stage.room);
        let levels = json!({ "users": { &*alice.id: 100, &**mallory: 100 } });
        server.put(&path("state/m.room.power_levels"), &alice.token, levels).await.ok();

        let levels = json!({ "users": { &*alice.id: "100", &**mallory: " 100" }, "invite": "7", "historical": "x" });
        for (event_type, content) in [
            ("m.room.power_levels", levels.clone()),
            ("m.room.name", json!({ "name": 5 })),
            ("m.room.topic", json!({ "topic": "tea" })),
            ("m.room.message", json!({})),
        ] {
            let event = match event_type {
                "m.room.message" => stage.lie(|event| event["content"] = content).await,
                _ => state(&stage, event_type, content).await,
            };
            stage.send(&[event]).await.ok();
            stage.judged().await;
        }
        let now = server.get(&path("state/m.room.power_levels"), &alice.token).await;
        assert_eq!(now.ok(), &levels);
        assert_eq!(server.get(&path("state/m.room.name"), &alice.token).await.ok(), &json!({ "name": 5 }));
        // The levels act.
        server.put(&path("state/m.room.avatar"), &alice.token, json!({})).await.ok();

        let upgraded = server.post(&path("upgrade"), &alice.token, json!({ "new_version": "10" })).await;
        let new = upgraded.ok()["replacement_room"].as_str().expect("a room").to_owned();
        let state = async |event_type: &str| {
            server.get(&format!("{CLIENT}/rooms/{new}/state/{event_type}"), &alice.token).await
        };
        let levels = state("m.room.power_levels").await;
        assert_eq!(levels.ok()["users"], json!({ &*alice.id: 100, &**mallory: 100 }));
        assert_eq!(levels.ok()["invite"], 7);
        assert_eq!(state("m.room.topic").await.ok()["topic"], "tea");
        assert_eq!(state("m.room.name").await.refusal(), (404, "M_NOT_FOUND"));
    }
}
