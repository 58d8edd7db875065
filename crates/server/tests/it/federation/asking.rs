//! Requests of users that this server passes on to other servers.

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use plexus_http::{JsonBody, Query};
use plexus_testkit::{AnyJson, Peer, TestServer};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Question {
    user_id: Option<String>,
    room_alias: Option<String>,
}

/// A server with the user `bob`, who has a device, and the room `#tea`.
async fn peer() -> Peer {
    Peer::answering(|name| {
        let (bob, tea) = (format!("@bob:{name}"), format!("#tea:{name}"));
        let user = bob.clone();
        let profile = async move |Query(question): Query<Question>| -> Response {
            if question.user_id == Some(user) {
                JsonBody(json!({ "displayname": "Bob", "avatar_url": null, "m.tz": "Europe/Paris" })).into_response()
            } else {
                (StatusCode::NOT_FOUND, r#"{"errcode":"M_NOT_FOUND","error":"No row found"}"#).into_response()
            }
        };
        let directory = async move |Query(question): Query<Question>| -> Response {
            if question.room_alias == Some(tea) {
                JsonBody(json!({ "room_id": "!a:b.example", "servers": ["b.example"] })).into_response()
            } else {
                (StatusCode::NOT_FOUND, r#"{"errcode":"M_NOT_FOUND","error":""}"#).into_response()
            }
        };
        let rooms = json!({ "chunk": [{ "room_id": "!a:b.example", "num_joined_members": 1 }] });
        let found = json!({ "chunk": [] });
        let user = bob.clone();
        let query = async move |AnyJson(asked): AnyJson| {
            assert_eq!(asked, json!({ "device_keys": { user.as_str(): [] } }));
            let device = |id: &str, owner: &str| json!({ "user_id": owner, "device_id": id, "keys": {} });
            JsonBody(json!({
                "device_keys": {
                    user.as_str(): { "GOOD": device("GOOD", &user), "LIE": device("OTHER", &user) },
                    "@alice:test.example": { "FORGED": device("FORGED", "@alice:test.example") },
                },
                "master_keys": { user.as_str(): { "user_id": user.as_str(), "keys": {} } },
            }))
        };
        let claim = async move |AnyJson(asked): AnyJson| {
            assert_eq!(asked, json!({ "one_time_keys": { bob.as_str(): { "GOOD": "signed_curve25519" } } }));
            let key = json!({ "signed_curve25519:A": { "key": "x" } });
            JsonBody(json!({ "one_time_keys": { bob.as_str(): { "GOOD": key, "UNASKED": key } } }))
        };
        Router::new()
            .route("/_matrix/federation/v1/query/profile", get(profile))
            .route("/_matrix/federation/v1/query/directory", get(directory))
            .route(
                "/_matrix/federation/v1/publicRooms",
                get(async move || JsonBody(rooms)).post(async move || JsonBody(found)),
            )
            .route("/_matrix/federation/v1/user/keys/query", post(query))
            .route("/_matrix/federation/v1/user/keys/claim", post(claim))
    })
    .await
}

/// An address of this machine where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn a_profile() {
    let (server, peer) = (TestServer::sqlite().await, peer().await);
    let alice = server.register("alice").await;
    let profile = async |user: &str| server.get(&format!("/_matrix/client/v3/profile/{user}"), &alice.token).await;
    let bob = peer.user("bob");
    assert_eq!(profile(&bob).await.ok(), &json!({ "displayname": "Bob", "m.tz": "Europe/Paris" }));
    assert_eq!(profile(&format!("{bob}/displayname")).await.ok(), &json!({ "displayname": "Bob" }));
    assert_eq!(profile(&format!("{bob}/avatar_url")).await.ok(), &json!({}));
    assert_eq!(profile(&format!("{bob}/m.nothing")).await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(profile(&peer.user("nobody")).await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(profile(&format!("@bob:{NOBODY}")).await.refusal(), (502, "M_UNKNOWN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_and_the_room_directory() {
    let (server, peer) = (TestServer::sqlite().await, peer().await);
    let alice = server.register("alice").await;
    let alias = async |name: &str| {
        let path = format!("/_matrix/client/v3/directory/room/%23{name}%3A{}", peer.name());
        server.get(&path, &alice.token).await
    };
    assert_eq!(alias("tea").await.ok(), &json!({ "room_id": "!a:b.example", "servers": ["b.example"] }));
    assert_eq!(alias("coffee").await.refusal(), (404, "M_NOT_FOUND"));

    let path = format!("/_matrix/client/v3/publicRooms?server={}&limit=7&since=a%26b", peer.name());
    let rooms = server.get(&path, &alice.token).await;
    assert_eq!(rooms.ok()["chunk"][0]["room_id"], "!a:b.example");
    let asked = peer.receives(|request| request.uri.contains("/publicRooms")).await;
    assert_eq!(asked.uri, "/_matrix/federation/v1/publicRooms?limit=7&since=a%26b");
    let filter = json!({ "limit": 3, "filter": { "generic_search_term": "x" } });
    let found = server.post(&path, &alice.token, filter.clone()).await;
    assert_eq!(found.ok(), &json!({ "chunk": [] }));
    let asked = peer.receives(|request| request.method == "POST").await;
    assert_eq!(serde_json::from_slice::<Value>(&asked.body).expect("JSON"), filter);
    let nobody = server.get(&format!("/_matrix/client/v3/publicRooms?server={NOBODY}"), &alice.token).await;
    assert_eq!(nobody.refusal(), (502, "M_UNKNOWN"));
    let wrong = server.get("/_matrix/client/v3/publicRooms?server=%20", &alice.token).await;
    assert_eq!(wrong.refusal(), (400, "M_INVALID_PARAM"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys() {
    let (server, peer) = (TestServer::sqlite().await, peer().await);
    let alice = server.register("alice").await;
    let (bob, nobody) = (peer.user("bob"), format!("@x:{NOBODY}"));
    let wanted = json!({ "device_keys": { &bob: [], &nobody: [], &alice.id: [] }, "timeout": 5000 });
    let found = server.post("/_matrix/client/v3/keys/query", &alice.token, wanted).await;
    let device = json!({ "user_id": bob, "device_id": "GOOD", "keys": {} });
    assert_eq!(found.ok()["device_keys"], json!({ &bob: { "GOOD": device }, &alice.id: {} }));
    assert_eq!(found.body["master_keys"][&bob]["user_id"], json!(bob));
    assert_eq!(found.body["failures"].as_object().map(|failures| failures.len()), Some(1));
    assert_eq!(found.body["failures"][NOBODY]["status"], 503);

    let claim =
        json!({ "one_time_keys": { &bob: { "GOOD": "signed_curve25519" }, &nobody: { "A": "signed_curve25519" } } });
    let claimed = server.post("/_matrix/client/v3/keys/claim", &alice.token, claim).await;
    let key = json!({ "signed_curve25519:A": { "key": "x" } });
    assert_eq!(claimed.ok()["one_time_keys"], json!({ &bob: { "GOOD": key } }));
    assert_eq!(claimed.body["failures"][NOBODY]["errcode"], "M_UNREACHABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_wait_does_not_stop_messages_to_a_slow_server() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let peer = Peer::answering(|_| {
        let slow = async || -> Response { std::future::pending().await };
        let take = async || JsonBody(json!({}));
        Router::new()
            .route("/_matrix/federation/v1/user/keys/query", post(slow))
            .route("/_matrix/federation/v1/send/{txn}", put(take))
    })
    .await;
    let bob = peer.user("bob");
    let wanted = json!({ "device_keys": { &bob: [] }, "timeout": 0 });
    let found = server.post("/_matrix/client/v3/keys/query", &alice.token, wanted).await;
    assert_eq!(found.ok()["failures"][peer.name().as_str()]["status"], 503);

    let messages = json!({ "messages": { &bob: { "*": {} } } });
    server.put("/_matrix/client/v3/sendToDevice/m.test/1", &alice.token, messages).await.ok();
    peer.receives(|request| request.uri.contains("/send/")).await;
}
