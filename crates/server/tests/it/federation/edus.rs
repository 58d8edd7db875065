//! What servers tell each other besides events.

use http::Method;
use plexus_testkit::TestServer;
use serde_json::{Value, json};

use super::away::{Away, CLIENT, say, synced};

fn ephemeral<'a>(answer: &'a Value, room: &str, event_type: &str) -> Option<&'a Value> {
    let mut events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array()?.iter();
    events.find(|event| event["type"] == event_type).map(|event| &event["content"])
}

#[tokio::test]
async fn what_local_users_do_is_told_to_other_servers() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let typing = format!("{CLIENT}/rooms/{room}/typing/{}", alice.id);
        server.put(&typing, &alice.token, json!({ "typing": true, "timeout": 30_000 })).await.ok();
        let told = away.edu("m.typing", |content| content["typing"] == true).await;
        assert_eq!(told, json!({ "room_id": room, "user_id": alice.id, "typing": true }));
        server.put(&typing, &alice.token, json!({ "typing": false })).await.ok();
        away.edu("m.typing", |content| content["typing"] == false).await;

        let said = say(&server, &alice, &room, "hello").await;
        server.post(&format!("{CLIENT}/rooms/{room}/receipt/m.read/{said}"), &alice.token, json!({})).await.ok();
        let read = away.edu("m.receipt", |_| true).await;
        let read = &read[&room]["m.read"][&alice.id];
        assert_eq!(read["event_ids"], json!([said]));
        assert!(read["data"]["ts"].is_u64());

        let status = json!({ "presence": "online", "status_msg": "here" });
        server.put(&format!("{CLIENT}/presence/{}/status", alice.id), &alice.token, status).await.ok();
        let mine = |content: &Value| content["push"].as_array().unwrap().iter().any(|one| one["status_msg"] == "here");
        let presence = away.edu("m.presence", mine).await;
        assert_eq!(presence["push"][0]["user_id"], alice.id);

        let messages = json!({ "messages": { away.bob.as_str(): { "DEVICE": { "secret": 1 } } } });
        server.put(&format!("{CLIENT}/sendToDevice/m.test/1"), &alice.token, messages).await.ok();
        let message = away.edu("m.direct_to_device", |_| true).await;
        assert_eq!((&message["sender"], &message["type"]), (&json!(alice.id), &json!("m.test")));
        assert_eq!(message["messages"], json!({ away.bob.as_str(): { "DEVICE": { "secret": 1 } } }));
        assert!(message["message_id"].is_string());
    }
}

#[tokio::test]
async fn devices_are_told_in_sequence() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        away.room(&server, &alice).await;
        let upload = async |user: &plexus_testkit::TestUser| {
            let keys = json!({
                "user_id": user.id, "device_id": user.device_id, "algorithms": [],
                "keys": { format!("ed25519:{}", user.device_id): "key" },
                "signatures": { user.id.as_str(): { format!("ed25519:{}", user.device_id): "signature" } },
            });
            let body = json!({ "device_keys": keys });
            server.post(&format!("{CLIENT}/keys/upload"), &user.token, body).await.ok();
        };
        upload(&alice).await;
        let of = |device: &str| {
            let device = device.to_owned();
            move |content: &Value| content["device_id"] == device
        };
        let first = away.edu("m.device_list_update", of(&alice.device_id)).await;
        assert_eq!((&first["user_id"], &first["prev_id"]), (&json!(alice.id), &json!([])));
        assert_eq!(first["keys"]["keys"][format!("ed25519:{}", alice.device_id)], "key");
        assert!(first.get("device_display_name").is_none());
        let second = server.log_in("alice").await;
        upload(&second).await;
        let told = away.edu("m.device_list_update", of(&second.device_id)).await;
        assert_eq!(told["prev_id"], json!([first["stream_id"]]));
        server.request(Method::POST, &format!("{CLIENT}/logout"), Some(&second.token), Some(json!({}))).await.ok();
        let gone = away.edu("m.device_list_update", |content| content["deleted"] == true).await;
        assert_eq!((&gone["device_id"], gone.get("keys")), (&json!(second.device_id), None));
    }
}

#[tokio::test]
async fn what_users_of_other_servers_do_is_told_to_clients() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let said = say(&server, &alice, &room, "hello").await;
        let since = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok()["next_batch"].clone();
        let since = since.as_str().unwrap();
        let bob = away.bob.as_str();
        let message = json!({
            "edu_type": "m.direct_to_device",
            "content": { "sender": bob, "type": "m.test", "message_id": "1",
                         "messages": { alice.id.as_str(): { "*": { "secret": 1 } } } },
        });
        let read = json!({ "m.read": { bob: { "data": { "ts": 5 }, "event_ids": [said] } } });
        let elsewhere = "$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE";
        let no_thread = json!({ "ts": 5, "thread_id": "x".repeat(5_000) });
        let no_thread = json!({ "m.read": { bob: { "data": no_thread, "event_ids": [elsewhere] } } });
        let edus = vec![
            json!({ "edu_type": "m.receipt", "content": { room.as_str(): no_thread } }),
            json!({ "edu_type": "m.typing", "content": { "room_id": room, "user_id": alice.id, "typing": true } }),
            json!({ "edu_type": "m.typing" }),
            json!("nonsense"),
            json!({ "edu_type": "m.unheard_of", "content": {} }),
            json!({ "edu_type": "m.typing", "content": { "room_id": room, "user_id": bob, "typing": true } }),
            json!({ "edu_type": "m.receipt", "content": { "!nowhere:x": { "m.read": 1 }, room.as_str(): read } }),
            json!({ "edu_type": "m.presence",
                    "content": { "push": [{}, { "user_id": bob, "presence": "online", "last_active_ago": 5 }] } }),
            message.clone(),
            message,
        ];
        away.send(&server, "edus", Vec::new(), edus).await.ok();
        let shown = synced(&server, &alice, since, |answer| {
            ephemeral(answer, &room, "m.typing").is_some() && answer["presence"]["events"].is_array()
        });
        let shown = shown.await;
        assert_eq!(ephemeral(&shown, &room, "m.typing").unwrap()["user_ids"], json!([bob]));
        assert_eq!(ephemeral(&shown, &room, "m.receipt").unwrap()[&said]["m.read"][bob]["ts"], 5);
        assert!(ephemeral(&shown, &room, "m.receipt").unwrap().get(elsewhere).is_none());
        assert_eq!(shown["to_device"]["events"].as_array().unwrap().len(), 1);
        assert_eq!(shown["to_device"]["events"][0]["content"], json!({ "secret": 1 }));
        let presence = server.get(&format!("{CLIENT}/presence/{bob}/status"), &alice.token).await;
        assert_eq!(presence.ok()["presence"], "online");
    }
}
