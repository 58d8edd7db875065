//! Spaces whose rooms are on other servers.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use plexus_http::JsonBody;
use plexus_testkit::{Peer, TestServer, TestUser};
use serde_json::{Value, json};

const CLIENT: &str = "/_matrix/client";

fn child(room: &str, via: &str) -> Value {
    json!({
        "type": "m.space.child", "state_key": room, "sender": "@bob:b.example", "origin_server_ts": 7,
        "content": { "via": [via] }, "event_id": "$not:for.clients",
    })
}

fn summary(room: &str, join_rule: &str, children: &[Value]) -> Value {
    // Spaces by their names.
    let room_type = if room.starts_with("!space:") { json!("m.space") } else { json!("org.example.lounge") };
    json!({
        "room_type": room_type,
        "room_id": room, "name": format!("the room {room}"), "num_joined_members": 3, "world_readable": false,
        "guest_can_join": false, "join_rule": join_rule, "children_state": children, "x": "not for clients",
    })
}

/// A server with the space `!space:NAME`: a room it tells of, one that is for others, one that it tells a lie about,
/// and a way back.
async fn peer() -> Peer {
    Peer::answering(|name| {
        let name = name.to_string();
        let hierarchy = async move |Path(room): Path<String>| -> Response {
            let id = |local: &str| format!("!{local}:{name}");
            let rooms = ["inner", "private", "liar", "space"].map(|local| child(&id(local), &name));
            if room == id("space") {
                let children = [
                    summary(&id("inner"), "public", &[child(&id("hidden"), &name)]),
                    summary(&id("hidden"), "public", &[]),
                    summary(&id("private"), "invite", &[]),
                    json!("no room at all"),
                ];
                JsonBody(json!({
                    "room": summary(&room, "public", &rooms), "children": children, "inaccessible_children": [],
                }))
                .into_response()
            } else if room == id("liar") {
                JsonBody(json!({ "room": summary(&id("other"), "public", &[]), "children": [] })).into_response()
            } else {
                (StatusCode::NOT_FOUND, r#"{"errcode":"M_NOT_FOUND","error":""}"#).into_response()
            }
        };
        Router::new().route("/_matrix/federation/v1/hierarchy/{room}", get(hierarchy))
    })
    .await
}

/// A space of Alice's with that room in it.
async fn space_with(server: &TestServer, alice: &TestUser, room: &str, via: &str) -> String {
    let event = json!({ "type": "m.space.child", "state_key": room, "content": { "via": [via] } });
    let body = json!({ "creation_content": { "type": "m.space" }, "initial_state": [event] });
    let made = server.post(&format!("{CLIENT}/v3/createRoom"), &alice.token, body).await;
    made.ok()["room_id"].as_str().unwrap().to_owned()
}

fn ids(answer: &Value) -> Vec<String> {
    let rooms = answer["rooms"].as_array().unwrap();
    rooms.iter().map(|room| room["room_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_of_other_servers_are_shown_as_these_describe_them() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (peer().await, server.register("alice").await);
        let id = |local: &str| format!("!{local}:{}", peer.name());
        let space = space_with(&server, &alice, &id("space"), peer.name().as_str()).await;
        let hierarchy = format!("{CLIENT}/v1/rooms/{space}/hierarchy");
        let all = server.get(&hierarchy, &alice.token).await;
        assert_eq!(ids(all.ok()), [space.clone(), id("space"), id("inner")]);
        let shown = &all.body["rooms"][1];
        assert_eq!(shown["name"], format!("the room {}", id("space")));
        assert_eq!(shown["num_joined_members"], 3);
        assert!(shown.get("x").is_none());
        let first = &shown["children_state"][0];
        assert_eq!(first["content"], json!({ "via": [peer.name().as_str()] }));
        assert!(first.get("event_id").is_none(), "children are stripped");
        assert_eq!(all.body["rooms"][2]["children_state"], json!([]), "only a space has children");

        // Page by page, without asking again.
        let asked = peer.received().len();
        let page = server.get(&format!("{hierarchy}?limit=2"), &alice.token).await;
        assert_eq!(ids(page.ok()), [space.clone(), id("space")]);
        let from = page.body["next_batch"].as_str().unwrap();
        let page = server.get(&format!("{hierarchy}?limit=2&from={from}"), &alice.token).await;
        assert_eq!(ids(page.ok()), [id("inner")]);
        assert!(page.body.get("next_batch").is_none());
        assert_eq!(peer.received().len(), asked);

        // A space that nobody here is in.
        let elsewhere = server.get(&format!("{CLIENT}/v1/rooms/{}/hierarchy", id("space")), &alice.token).await;
        assert_eq!(ids(elsewhere.ok()), [id("space"), id("inner")]);
        let unknown = server.get(&format!("{CLIENT}/v1/rooms/{}/hierarchy", id("unknown")), &alice.token).await;
        assert_eq!(unknown.refusal(), (403, "M_FORBIDDEN"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_summary_is_asked_for() {
    for server in TestServer::on_each().await {
        let peer = peer().await;
        let alice = server.register("alice").await;
        let id = |local: &str| format!("!{local}:{}", peer.name());
        let summary = async |room: &str, token: Option<&str>| {
            let path = format!("{CLIENT}/v1/room_summary/{room}?via={}", peer.name());
            server.request(http::Method::GET, &path, token, None).await
        };
        let found = summary(&id("space"), Some(&alice.token)).await;
        assert_eq!(found.ok()["name"], format!("the room {}", id("space")));
        assert_eq!((&found.body["membership"], found.body.get("children_state")), (&json!("leave"), None));
        let (unknown, liar) =
            (summary(&id("unknown"), Some(&alice.token)).await, summary(&id("liar"), Some(&alice.token)).await);
        assert_eq!(unknown.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(liar.refusal(), (404, "M_NOT_FOUND"));
        let asked = peer.received().len();
        assert_eq!(summary(&id("space"), None).await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(peer.received().len(), asked, "other servers are not asked for strangers");
    }
}
