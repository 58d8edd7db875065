//! Guests, and rooms that are closed to them.

use http::Method;
use plexus_testkit::places;

use super::*;
use crate::federation::away::{Away, CLIENT, synced};

async fn guest(server: &TestServer) -> TestUser {
    let answer = server.request(Method::POST, &format!("{CLIENT}/register?kind=guest"), None, Some(json!({}))).await;
    let text = |name: &str| answer.ok()[name].as_str().unwrap_or_default().to_owned();
    TestUser { id: text("user_id"), token: text("access_token"), device_id: text("device_id") }
}

async fn open_to_guests(server: &TestServer, alice: &TestUser) -> String {
    let access = json!({ "type": "m.room.guest_access", "content": { "guest_access": "can_join" } });
    create(server, alice, json!({ "preset": "public_chat", "room_version": "11", "initial_state": [access] })).await
}

/// Waits until Alice sees that the user has left, of their own accord.
async fn has_left(server: &TestServer, alice: &TestUser, since: &Value, room: &str, user: &TestUser) {
    let has_left = |answer: &Value| {
        let timeline = answer["rooms"]["join"][room]["timeline"]["events"].as_array();
        let is_leave = |event: &Value| {
            let of_user = event["state_key"] == user.id.as_str() && event["sender"] == user.id.as_str();
            of_user && event["content"]["membership"] == "leave"
        };
        timeline.is_some_and(|events| events.iter().any(is_leave))
    };
    synced(server, alice, since.as_str().expect("a token"), has_left).await;
}

async fn now(server: &TestServer, user: &TestUser) -> Value {
    server.get(&format!("{CLIENT}/sync"), &user.token).await.ok()["next_batch"].clone()
}

async fn set(server: &TestServer, by: &TestUser, room: &str, content: Value) -> Answer {
    server.put(&path(room, "state/m.room.guest_access"), &by.token, content).await
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_leave_when_guest_access_ends() {
    for place in places() {
        let server = TestServer::on(place).config("allow_guest_access: true").start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (one, two) = (guest(&server).await, guest(&server).await);
        let other = open_to_guests(&server, &alice).await;
        join(&server, &one, &other).await;
        for way in ["forbidden", "nothing", "redacted"] {
            let room = open_to_guests(&server, &alice).await;
            for user in [&one, &two, &bob] {
                join(&server, user, &room).await;
            }
            let member = state(&server, &alice, &room, &format!("m.room.member/{}", one.id)).await;
            assert_eq!(member.ok()["kind"], "guest");
            let since = now(&server, &alice).await;
            match way {
                "forbidden" => _ = set(&server, &alice, &room, json!({ "guest_access": "forbidden" })).await.ok(),
                "nothing" => _ = set(&server, &alice, &room, json!({})).await.ok(),
                _ => {
                    let full = state(&server, &alice, &room, "m.room.guest_access?format=event").await;
                    let id = full.ok()["event_id"].as_str().expect("an id").to_owned();
                    server.put(&path(&room, &format!("redact/{id}/1")), &alice.token, json!({})).await.ok();
                }
            }
            for user in [&one, &two] {
                has_left(&server, &alice, &since, &room, user).await;
            }
            let member = state(&server, &alice, &room, &format!("m.room.member/{}", bob.id)).await;
            assert_eq!(member.ok()["membership"], "join", "{way}");
            let joining = server.post(&path(&room, "join"), &one.token, json!({})).await;
            assert_eq!(joining.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"), "{way}");
            // Open again: the guest is let in, and stays.
            set(&server, &alice, &room, json!({ "guest_access": "can_join" })).await.ok();
            join(&server, &one, &room).await;
        }
        let joined = server.get(&format!("{CLIENT}/joined_rooms"), &one.token).await;
        assert_eq!(joined.ok()["joined_rooms"].as_array().map(Vec::len), Some(4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_leave_when_another_server_ends_guest_access() {
    for place in places() {
        let server = TestServer::on(place).config("allow_guest_access: true").start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let guest = guest(&server).await;
        let room = open_to_guests(&server, &alice).await;
        away.member(&server, &alice, &room, "join").await;
        let levels = state(&server, &alice, &room, "m.room.power_levels").await;
        let mut levels = levels.ok().clone();
        levels["users"][&away.bob] = json!(100);
        server.put(&path(&room, "state/m.room.power_levels"), &alice.token, levels).await.ok();
        join(&server, &guest, &room).await;
        let since = now(&server, &alice).await;
        let closing = closed_by_bob(&server, &alice, &away, &room).await;
        away.send(&server, "closing", vec![closing], Vec::new()).await.ok();
        has_left(&server, &alice, &since, &room, &guest).await;
    }
}

/// `m.room.guest_access` of Bob's, who is on the other server.
async fn closed_by_bob(server: &TestServer, alice: &TestUser, away: &Away, room: &str) -> Value {
    let all = server.get(&path(room, "state"), &alice.token).await.ok().clone();
    let id = |event_type: &str, key: &str| {
        let mut events = all.as_array().expect("events").iter();
        events.find(|event| event["type"] == event_type && event["state_key"] == key).map(|it| it["event_id"].clone())
    };
    let newest = server.get(&path(room, "messages?dir=b&limit=1"), &alice.token).await.ok().clone();
    let event = json!({
        "type": "m.room.guest_access", "state_key": "", "sender": away.bob, "room_id": room, "depth": 200,
        "origin_server_ts": 1_700_000_000_000_u64, "content": { "guest_access": "forbidden" },
        "prev_events": [newest["chunk"][0]["event_id"]],
        "auth_events": [id("m.room.create", ""), id("m.room.power_levels", ""), id("m.room.member", &away.bob)],
    });
    let event = plexus_protocol::json::Object::parse(&event.to_string()).expect("an object");
    let version = plexus_protocol::rules::RoomVersion::V11;
    let pdu = plexus_protocol::event::build::finish(event, version, away.peer.key(), away.peer.name());
    crate::federation_serve::json_of(&pdu.expect("an event"))
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_do_nothing_by_state_that_they_may_not_do_otherwise() {
    let server = TestServer::on(plexus_testkit::TestPlace::sqlite()).config("allow_guest_access: true").start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let guest = guest(&server).await;
    let room = open_to_guests(&server, &alice).await;
    join(&server, &guest, &room).await;
    for membership in ["invite", "ban", "leave"] {
        let member = path(&room, &format!("state/m.room.member/{}", bob.id));
        let answer = server.put(&member, &guest.token, json!({ "membership": membership })).await;
        assert_eq!(answer.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"), "{membership}");
    }
    // What is known of a room that this server is not in does not say that it is open to guests.
    let elsewhere = "!elsewhere:else.example";
    let answer = server.post(&path(elsewhere, "join?via=else.example"), &guest.token, json!({})).await;
    assert_eq!(answer.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"));
    let own = path(&room, &format!("state/m.room.member/{}", guest.id));
    server.put(&own, &guest.token, json!({ "membership": "leave" })).await.ok();
}
