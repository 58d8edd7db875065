//! `PUT /presence/{user_id}/status`.

use plexus_testkit::TestPlace;
use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{CLIENT, next_batch, say, sync, two_in_a_room};
use crate::client::{join, public_room};

#[tokio::test]
async fn presence_is_set_and_read() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let path = format!("{CLIENT}/presence/{}/status", alice.id);
    let away = json!({ "presence": "unavailable", "status_msg": "lunch" });
    server.put(&path, &alice.token, away).await.ok();
    let status = server.get(&path, &bob.token).await;
    assert_eq!(status.ok()["presence"], "unavailable");
    assert_eq!(status.ok()["status_msg"], "lunch");
    let first = sync(&server, &bob, None, "&set_presence=offline").await;
    assert_eq!(first["presence"]["events"][0]["content"]["status_msg"], "lunch");
    let away = json!({ "presence": "away" });
    assert_eq!(server.put(&path, &alice.token, away).await.refusal(), (400, "M_INVALID_PARAM"));
    let online = json!({ "presence": "online" });
    assert_eq!(server.put(&path, &bob.token, online).await.refusal(), (403, "M_FORBIDDEN"));
    let carol = server.register("carol").await;
    assert_eq!(server.get(&path, &carol.token).await.refusal(), (403, "M_FORBIDDEN"));
    join(&server, &carol, &room).await;
    assert_eq!(server.get(&path, &carol.token).await.ok()["presence"], "unavailable");
}

#[tokio::test]
async fn sending_counts_as_activity() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let path = format!("{CLIENT}/presence/{}/status", alice.id);
    let topic = format!("{CLIENT}/rooms/{room}/state/m.room.topic");
    let member = format!("{CLIENT}/rooms/{room}/state/m.room.member/{}", alice.id);
    for sent in ["message", "state", "member"] {
        server.put(&path, &alice.token, json!({ "presence": "unavailable" })).await.ok();
        assert_eq!(server.get(&path, &bob.token).await.ok()["currently_active"], false);
        match sent {
            "message" => _ = say(&server, &alice, &room, "back").await,
            "state" => _ = server.put(&topic, &alice.token, json!({ "topic": "a" })).await.ok(),
            _ => {
                let joined = json!({ "membership": "join", "displayname": "Alice here" });
                server.put(&member, &alice.token, joined).await.ok();
            }
        }
        let status = server.get(&path, &bob.token).await;
        assert_eq!((&status.ok()["presence"], &status.body["currently_active"]), (&json!("online"), &json!(true)));
    }
}

#[tokio::test]
async fn some_rooms_do_not_show_presence() {
    let place = TestPlace::sqlite();
    let mut server = TestServer::on(place).start().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let path = format!("{CLIENT}/presence/{}/status", alice.id);
    server.put(&path, &alice.token, json!({ "presence": "online" })).await.ok();
    server.get(&path, &bob.token).await.ok();
    server.config_mut().rooms.exclude_rooms_from_presence = vec![room];
    server.restart().await;
    server.put(&path, &alice.token, json!({ "presence": "online" })).await.ok();
    assert_eq!(server.get(&path, &bob.token).await.refusal(), (403, "M_FORBIDDEN"));
    let shows_alice = |answer: &serde_json::Value| {
        let events = answer["presence"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().any(|event| event["sender"] == alice.id.as_str())
    };
    let first = sync(&server, &bob, None, "").await;
    assert!(!shows_alice(&first), "{first}");
    // Another room will do.
    let other = public_room(&server, &alice).await;
    join(&server, &bob, &other).await;
    server.get(&path, &bob.token).await.ok();
    let next = sync(&server, &bob, Some(next_batch(&first)), "").await;
    assert!(shows_alice(&next), "{next}");
}
