//! `auto_join_rooms`: rooms that new users join.

use http::Method;
use plexus_testkit::TestPlace;
use plexus_testkit::server::{Answer, TestServer};
use serde_json::json;

use crate::client::{create, state};

const REGISTER: &str = "/_matrix/client/v3/register";

async fn with(config: &str) -> TestServer {
    TestServer::on(TestPlace::sqlite()).config(config).start().await
}

async fn joined(server: &TestServer, token: &str) -> usize {
    let answer = server.get("/_matrix/client/v3/joined_rooms", token).await;
    answer.ok()["joined_rooms"].as_array().expect("a list").len()
}

async fn room_of(server: &TestServer, alias: &str) -> Answer {
    let path = format!("/_matrix/client/v3/directory/room/%23{alias}:test.example");
    server.request(Method::GET, &path, None, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_user_makes_the_rooms_and_all_join() {
    let config = "
auto_join_rooms: ['#lobby:test.example', '#news:test.example', '#far:elsewhere.example']
autocreate_auto_join_rooms_federated: false
allow_guest_access: true
";
    let server = with(config).await;
    let alice = server.register("alice").await;
    assert_eq!(joined(&server, &alice.token).await, 2);
    let room = room_of(&server, "lobby").await.ok()["room_id"].as_str().expect("a room id").to_owned();
    let create = state(&server, &alice, &room, "m.room.create?format=event").await;
    assert_eq!((&create.ok()["sender"], &create.body["content"]["m.federate"]), (&json!(alice.id), &json!(false)));
    assert_eq!(state(&server, &alice, &room, "m.room.join_rules").await.ok()["join_rule"], "public");
    let bob = server.register("bob").await;
    assert_eq!(joined(&server, &bob.token).await, 2);
    // The preset does not let guests in, whatever the option says.
    let guest = server.request(Method::POST, &format!("{REGISTER}?kind=guest"), None, Some(json!({}))).await;
    assert_eq!(joined(&server, guest.ok()["access_token"].as_str().expect("a token")).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_stay_out_and_are_not_the_first_user() {
    let config = "
auto_join_rooms: ['#lobby:test.example']
allow_guest_access: true
auto_join_rooms_for_guests: false
";
    let server = with(config).await;
    let guest = server.request(Method::POST, &format!("{REGISTER}?kind=guest"), None, Some(json!({}))).await;
    assert_eq!(joined(&server, guest.ok()["access_token"].as_str().expect("a token")).await, 0);
    assert_eq!(room_of(&server, "lobby").await.refusal(), (404, "M_NOT_FOUND"));
    let alice = server.register("alice").await;
    assert_eq!(joined(&server, &alice.token).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn invited_users_join_and_so_do_later_ones() {
    let config = "
auto_join_rooms: ['#lobby:test.example']
autocreate_auto_join_room_preset: private_chat
auto_join_mxid_localpart: host
";
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(config).start().await;
        let alice = server.register("alice").await;
        let room = room_of(&server, "lobby").await.ok()["room_id"].as_str().expect("a room id").to_owned();
        let create = state(&server, &alice, &room, "m.room.create?format=event").await;
        assert_eq!(create.ok()["sender"], "@host:test.example");
        assert_eq!(state(&server, &alice, &room, "m.room.join_rules").await.ok()["join_rule"], "invite");
        let bob = server.register("bob").await;
        let member = state(&server, &bob, &room, &format!("m.room.member/{}?format=event", bob.id)).await;
        assert_eq!(member.ok()["content"]["membership"], "join");
        assert_eq!(member.body["unsigned"]["prev_sender"], "@host:test.example");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_that_is_not_to_be() {
    let server = with("auto_join_rooms: ['#lobby:test.example']\nautocreate_auto_join_rooms: false").await;
    let alice = server.register("alice").await;
    assert_eq!(joined(&server, &alice.token).await, 0);
    create(&server, &alice, json!({ "preset": "public_chat", "room_alias_name": "lobby" })).await;
    let bob = server.register("bob").await;
    assert_eq!(joined(&server, &bob.token).await, 1);
}
