//! The client-server API. Tests of an endpoint are in its path below `api-client/src`; tests of several
//! endpoints are in a file of their subject.

pub(crate) mod account {
    mod add_3pid;
    mod auto_join_rooms;
    mod change_password;
    mod deactivate;
    pub(crate) mod erasure;
    mod password_policy;
    mod register;
    mod request_openid_token;
    mod request_token;
}
pub(crate) mod admin;
mod aggregations;
mod alias {
    mod create_alias;
}
mod app_services;
mod appservice {
    mod request_ping;
    mod set_room_visibility;
}
pub(crate) mod authenticated_media;
mod auto_accept_invites;
mod backup;
mod config {
    mod delete_global_account_data;
    mod set_global_account_data;
}
mod context {
    mod get_context;
}
mod dehydrated_device;
mod delayed_events;
mod device;
mod directory {
    mod get_public_rooms;
}
mod discovery {
    mod claims;
    mod discover_homeserver;
    mod discover_support;
    mod federation_whitelist;
    mod get_supported_versions;
}
mod errors;
pub(crate) mod event_content;
mod expiring_messages;
mod filter {
    mod create_filter;
}
mod guests;
mod history_visibility;
pub(crate) mod keys;
mod knock {
    mod knock_room;
}
pub(crate) mod media;
mod media_storage;
pub(crate) mod membership;
mod message {
    mod get_message_events;
    mod send_message_event;
}
mod peeking {
    mod get_current_state;
    mod listen_to_new_events;
}
mod presence {
    mod set_presence;
}
mod profile {
    mod set_profile_field;
}
mod policy_hooks;
pub(crate) mod push_gateways;
pub(crate) mod push {
    mod get_notifications;
    mod set_pusher;
    pub(crate) mod set_pushrule;
}
mod receipt {
    mod create_receipt;
}
mod redact {
    mod redact_event;
}
mod relations {
    mod get_relating_events;
}
mod rendezvous;
mod room {
    mod create_room;
    mod get_event;
    mod get_event_by_timestamp;
    mod report_content;
    mod upgrade_room;
}
mod rtc {
    mod transports;
}
mod search {
    mod search_events;
}
pub(crate) mod session {
    mod get_login_token;
    mod login;
    pub(crate) mod login_fallback;
    mod logout;
    mod refresh_token;
}
mod shadow_ban;
mod space {
    mod get_hierarchy;
}
mod state {
    mod send_state_event;
}
mod sticky_events;
mod sync {
    mod initial_sync;
    mod profile_updates;
    mod replay;
    mod room_prejoin_state;
    mod sliding;
    mod sync_events;
}
mod tag {
    mod create_tag;
}
mod thirdparty;
mod threads;
mod to_device {
    mod send_event_to_device;
}
mod typing {
    mod create_typing_event;
}
mod uiaa;
mod user_directory {
    mod search_users;
}
mod welcome;

use http::Method;
use plexus_testkit::places;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::{Value, json};

pub(crate) const CLIENT: &str = "/_matrix/client/v3";
pub(crate) const REGISTER: &str = "/_matrix/client/v3/register";
pub(crate) const LOGIN: &str = "/_matrix/client/v3/login";
pub(crate) const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

/// The path of an endpoint of a room; `rest` is what follows the room.
pub(crate) fn room_path(room: &str, rest: &str) -> String {
    format!("/_matrix/client/v3/rooms/{room}/{rest}")
}

/// Creates a room; returns its id.
pub(crate) async fn create(server: &TestServer, user: &TestUser, body: Value) -> String {
    let answer = server.post("/_matrix/client/v3/createRoom", &user.token, body).await;
    answer.ok()["room_id"].as_str().unwrap_or_default().to_owned()
}

/// A room that anybody may join.
pub(crate) async fn public_room(server: &TestServer, user: &TestUser) -> String {
    create(server, user, json!({ "preset": "public_chat" })).await
}

pub(crate) async fn join(server: &TestServer, user: &TestUser, room: &str) {
    server.post(&room_path(room, "join"), &user.token, json!({})).await.ok();
}

/// Sends a text message; returns its event id.
pub(crate) async fn say(server: &TestServer, user: &TestUser, room: &str, text: &str) -> String {
    let content = json!({ "msgtype": "m.text", "body": text });
    let answer = send(server, user, room, "m.room.message", content).await;
    answer.ok()["event_id"].as_str().unwrap_or_default().to_owned()
}

pub(crate) async fn send(server: &TestServer, user: &TestUser, room: &str, event_type: &str, content: Value) -> Answer {
    let txn = plexus_testkit::unique_name();
    server.put(&room_path(room, &format!("send/{event_type}/{txn}")), &user.token, content).await
}

pub(crate) async fn state(server: &TestServer, user: &TestUser, room: &str, key: &str) -> Answer {
    server.get(&room_path(room, &format!("state/{key}")), &user.token).await
}

/// The bodies of the messages among events.
pub(crate) fn bodies(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// A `GET /sync` that answers at once; `parameters` begin with `&`.
pub(crate) async fn sync(server: &TestServer, user: &TestUser, since: Option<&str>, parameters: &str) -> Value {
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    let answer = server.get(&format!("{CLIENT}/sync?timeout=0{since}{parameters}"), &user.token).await;
    answer.ok().clone()
}

pub(crate) fn next_batch(answer: &Value) -> &str {
    answer["next_batch"].as_str().expect("a token")
}

/// A server, two users, and a room with both in it.
pub(crate) async fn two_in_a_room(server: &TestServer) -> (TestUser, TestUser, String) {
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(server, &alice).await;
    join(server, &bob, &room).await;
    (alice, bob, room)
}

/// The first event of a type among a section's.
pub(crate) fn event<'a>(section: &'a Value, event_type: &str) -> Option<&'a Value> {
    section["events"].as_array()?.iter().find(|event| event["type"] == event_type)
}

/// POST without an access token.
pub(crate) async fn post_unauthenticated(server: &TestServer, path: &str, body: Value) -> Answer {
    server.request(Method::POST, path, None, Some(body)).await
}

/// GET without an access token.
pub(crate) async fn get_unauthenticated(server: &TestServer, path: &str) -> Answer {
    server.request(Method::GET, path, None, None).await
}

/// The body of a request that the user authenticates with the password.
pub(crate) fn with_password(user: &TestUser, session: &Value, mut body: Value) -> Value {
    let name = user.id.trim_start_matches('@').split(':').next().unwrap_or_default();
    body["auth"] = json!({
        "type": "m.login.password",
        "session": session,
        "identifier": { "type": "m.id.user", "user": name },
        "password": format!("password of {name}"),
    });
    body
}

pub(crate) fn password_login(user: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    })
}

/// A server with these options on each database.
pub(crate) async fn on_each_with(config: &str) -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        servers.push(TestServer::on(place).config(config).start().await);
    }
    servers
}
