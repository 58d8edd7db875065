//! Values that nobody may send from here, but that other servers have sent: the room goes on with them.

use super::*;

const V1: &str = "/_matrix/client/v1";
const UNSTABLE: &str = "/_matrix/client/unstable";

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

/// Whether every member of `value` that the specification makes a text is one.
fn texts_are_texts(value: &Value) -> bool {
    const TEXTS: [&str; 9] = [
        "name",
        "topic",
        "avatar",
        "avatar_url",
        "displayname",
        "display_name",
        "canonical_alias",
        "room_type",
        "join_rule",
    ];
    match value {
        Value::Object(members) => members.iter().all(|(name, member)| match &**name {
            // As they were sent.
            "content" | "prev_content" => true,
            name if TEXTS.contains(&name) => member.is_string() || member.is_null(),
            _ => texts_are_texts(member),
        }),
        Value::Array(elements) => elements.iter().all(texts_are_texts),
        _ => true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_pictures_that_are_no_texts_are_left_out_of_descriptions() {
    for stage in Stage::on_each("9").await {
        let (server, alice, mallory) = (&stage.server, &stage.alice, &stage.liar.mallory);
        let path = |rest: &str| format!("{CLIENT}/rooms/{}/{rest}", stage.room);
        let levels = json!({ "users": { &*alice.id: 100, &**mallory: 100 } });
        server.put(&path("state/m.room.power_levels"), &alice.token, levels).await.ok();
        let wrong = json!({ "x": ["y"] });
        let member = |event: &mut Value| {
            event["type"] = json!("m.room.member");
            event["state_key"] = json!(mallory);
            event["content"] = json!({ "membership": "join", "displayname": wrong, "avatar_url": 7 });
        };
        let member = stage.lie(member).await;
        stage.send(&[member]).await.ok();
        for (event_type, content) in [
            ("m.room.topic", json!({ "topic": wrong })),
            ("m.room.avatar", json!({ "url": wrong })),
            ("m.room.canonical_alias", json!({ "alias": wrong, "alt_aliases": 7 })),
            ("m.room.name", json!({ "name": wrong })),
        ] {
            let event = state(&stage, event_type, content).await;
            stage.send(&[event]).await.ok();
        }
        stage.judged().await;
        let shown = server.get(&path(&format!("state/m.room.member/{mallory}")), &alice.token).await;
        assert_eq!(shown.ok()["avatar_url"], 7, "the event has come");
        assert_eq!(server.get(&path("state/m.room.name"), &alice.token).await.ok()["name"], wrong);

        let body = json!({
            "lists": { "all": { "ranges": [[0, 9]], "timeline_limit": 10, "required_state": [["*", "*"]] } },
            "extensions": { "account_data": { "enabled": true } },
        });
        let sliding = format!("{UNSTABLE}/org.matrix.simplified_msc3575/sync?timeout=0");
        let directory = json!({ "search_term": "mallory" });
        for answer in [
            server.post(&sliding, &alice.token, body).await,
            server.get(&format!("{CLIENT}/sync"), &alice.token).await,
            server.get(&path("joined_members"), &alice.token).await,
            server.get(&format!("{CLIENT}/publicRooms"), &alice.token).await,
            server.get(&format!("{V1}/room_summary/{}", stage.room), &alice.token).await,
            server.get(&format!("{V1}/rooms/{}/hierarchy", stage.room), &alice.token).await,
            server.post(&format!("{CLIENT}/user_directory/search"), &alice.token, directory).await,
        ] {
            assert!(texts_are_texts(answer.ok()), "{}", answer.body);
        }
        stage.is_usable().await;
    }
}
