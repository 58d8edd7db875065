//! `room_prejoin_state`: what is shown of a room to users who are not in it.

use plexus_testkit::TestPlace;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{CLIENT, sync};

/// What an invited user is shown, as `type state_key`, in order and without the member events.
async fn shown(config: &str) -> Vec<String> {
    let server = TestServer::on(TestPlace::sqlite()).config(config).start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let state =
        |event_type: &str, state_key: &str| json!({ "type": event_type, "state_key": state_key, "content": {} });
    let body = json!({
        "name": "Room",
        "topic": "Things",
        "initial_state": [state("org.example", "a"), state("org.example", "b"), state("org.other", "a")],
        "invite": [bob.id],
    });
    let room = server.post(&format!("{CLIENT}/createRoom"), &alice.token, body).await;
    let room = room.ok()["room_id"].as_str().expect("a room id");
    let answer = sync(&server, &bob, None, "").await;
    let events = answer["rooms"]["invite"][room]["invite_state"]["events"].as_array().cloned().unwrap_or_default();
    let members = events.iter().filter(|event| event["type"] == "m.room.member").count();
    assert_eq!(members, 2, "who invites and who is invited: {events:?}");
    let named = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        (event["type"] != "m.room.member").then(|| format!("{} {}", text("type"), text("state_key")))
    };
    events.iter().filter_map(named).collect()
}

#[tokio::test]
async fn the_usual() {
    let usual = ["m.room.create ", "m.room.name ", "m.room.topic ", "m.room.join_rules "];
    assert_eq!(shown("").await, usual);
}

#[tokio::test]
async fn more_and_less() {
    let more =
        "room_prejoin_state: {additional_event_types: [org.example, [org.other, b], m.room.name, m.room.member]}";
    let expected =
        ["m.room.create ", "m.room.name ", "m.room.topic ", "m.room.join_rules ", "org.example a", "org.example b"];
    assert_eq!(shown(more).await, expected);
    let other = "
room_prejoin_state:
  disable_default_event_types: true
  additional_event_types: [m.room.name, [org.other, a]]
";
    assert_eq!(shown(other).await, ["m.room.create ", "m.room.name ", "org.other a"]);
    assert_eq!(shown("room_invite_state_types: [m.room.topic]").await, ["m.room.create ", "m.room.topic "]);
}
