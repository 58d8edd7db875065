//! `POST /rooms/{room_id}/forget`.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{CLIENT, join, next_batch, sync, two_in_a_room};

const INITIAL: &str = "&filter={%22room%22:{%22include_leave%22:true}}";

/// The membership of the user's own event in the answer's `leave` section.
fn left<'a>(answer: &'a Value, room: &str, user: &TestUser) -> Option<&'a str> {
    let events = answer["rooms"]["leave"][room]["timeline"]["events"].as_array()?;
    let own = events.iter().rev().find(|event| event["state_key"] == user.id.as_str())?;
    own["content"]["membership"].as_str()
}

/// Each device is sent the leave once, and a new one never.
async fn each_is_sent_the_leave_once(
    server: &TestServer,
    devices: &[(&TestUser, Value)],
    room: &str,
    membership: &str,
) {
    for (device, before) in devices {
        let shown = sync(server, device, Some(next_batch(before)), "").await;
        assert_eq!(left(&shown, room, device), Some(membership), "{shown}");
        let then = sync(server, device, Some(next_batch(&shown)), "").await;
        assert_eq!(then["rooms"]["leave"].get(room), None, "{then}");
        let initial = sync(server, device, None, INITIAL).await;
        assert_eq!(initial["rooms"]["leave"].get(room), None, "{initial}");
        let messages = server.get(&format!("{CLIENT}/rooms/{room}/messages?dir=b"), &device.token).await;
        assert_eq!(messages.refusal(), (403, "M_FORBIDDEN"));
    }
}

async fn act(server: &TestServer, user: &TestUser, room: &str, action: &str, body: Value) {
    server.post(&format!("{CLIENT}/rooms/{room}/{action}"), &user.token, body).await.ok();
}

#[tokio::test]
async fn a_room_forgotten_on_one_device_is_left_on_the_others() {
    for server in TestServer::on_each().await {
        let (_, bob, room) = two_in_a_room(&server).await;
        let other = server.log_in("bob").await;
        let devices = [(&bob, sync(&server, &bob, None, "").await), (&other, sync(&server, &other, None, "").await)];
        act(&server, &bob, &room, "leave", json!({})).await;
        act(&server, &bob, &room, "forget", json!({})).await;
        each_is_sent_the_leave_once(&server, &devices, &room, "leave").await;
        let capabilities = server.get(&format!("{CLIENT}/capabilities"), &bob.token).await;
        let forced = &capabilities.ok()["capabilities"]["m.forget_forced_upon_leave"];
        assert_eq!(forced, &json!({ "enabled": false }));
    }
}

#[tokio::test]
async fn rooms_are_forgotten_on_leave() {
    for place in plexus_testkit::places() {
        let mut server = TestServer::on(place).config("forget_rooms_on_leave: true").start().await;
        let (alice, bob, room) = two_in_a_room(&server).await;
        let other = server.log_in("bob").await;
        let capabilities = server.get(&format!("{CLIENT}/capabilities"), &bob.token).await;
        let forced = &capabilities.ok()["capabilities"]["m.forget_forced_upon_leave"];
        assert_eq!(forced, &json!({ "enabled": true }));
        let devices =
            async || [(&bob, sync(&server, &bob, None, "").await), (&other, sync(&server, &other, None, "").await)];

        let before = devices().await;
        act(&server, &bob, &room, "leave", json!({})).await;
        each_is_sent_the_leave_once(&server, &before, &room, "leave").await;
        // As in Synapse it does not matter who ends the membership.
        for (action, membership) in [("kick", "leave"), ("ban", "ban")] {
            join(&server, &bob, &room).await;
            let before = devices().await;
            act(&server, &alice, &room, action, json!({ "user_id": bob.id })).await;
            each_is_sent_the_leave_once(&server, &before, &room, membership).await;
        }
        server.restart().await;
        let initial = sync(&server, &other, None, INITIAL).await;
        assert_eq!(initial["rooms"]["leave"].get(&room), None, "{initial}");
    }
}
