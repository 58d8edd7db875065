//! `GET /rooms/{room_id}/complexity`, and what this server makes of others' (`limit_remote_rooms`).

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use plexus_testkit::server::TestServer;
use plexus_testkit::{BigRoom, Peer, every, places, within};
use serde_json::json;

use crate::admin::register_admin;
use crate::client::{create, public_room};
use crate::federation::away::CLIENT;
use crate::federation::path;

fn complexity(room: &str) -> String {
    format!("{}/complexity", path("unstable/rooms", &[room]))
}

#[tokio::test(flavor = "multi_thread")]
async fn open_rooms_have_a_complexity() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = public_room(&server, &alice).await;
        assert_eq!(peer.get(&server, &complexity(&room)).await.ok(), &json!({ "v1": 0.01 }));
        let private = create(&server, &alice, json!({ "preset": "private_chat" })).await;
        for hidden in [&*private, "!none:test.example"] {
            assert_eq!(peer.get(&server, &complexity(hidden)).await.refusal(), (404, "M_NOT_FOUND"));
        }
    }
}

const LIMIT: &str = "limit_remote_rooms: {enabled: true, complexity: 0.01, complexity_error: Too much., \
                     admins_can_join: true}";

#[tokio::test(flavor = "multi_thread")]
async fn complex_rooms_are_left_when_their_state_is_complete() {
    let other = Peer::start().await;
    for place in places() {
        let server = TestServer::on(place).config("limit_remote_rooms: {enabled: true, complexity: 0.2}").start().await;
        let alice = server.register("alice").await;
        let joined = async || server.get(&format!("{CLIENT}/joined_rooms"), &alice.token).await.ok().clone();
        // Without the members it is small.
        for (members, stays) in [(40, true), (200, false)] {
            let host = BigRoom::new(members, 10).host(&[&other]).await;
            host.room.tell_state(false);
            let join = format!("{CLIENT}/join/{}?via={}", host.room.id(), host.peer.name());
            server.post(&join, &alice.token, json!({})).await.ok();
            assert_eq!(joined().await, json!({ "joined_rooms": [host.room.id().as_str()] }));
            host.room.tell_state(true);
            let mut ticks = every(Duration::from_millis(20));
            let complete = async {
                let path = format!("{CLIENT}/rooms/{}/joined_members", host.room.id());
                server.get(&path, &alice.token).await;
                while !stays && joined().await != json!({ "joined_rooms": [] }) {
                    ticks.tick().await;
                }
            };
            within(Duration::from_secs(60), complete).await.expect("the room is left");
            if stays {
                server.post(&format!("{CLIENT}/rooms/{}/leave", host.room.id()), &alice.token, json!({})).await.ok();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn complex_rooms_are_not_joined() {
    for place in places() {
        let server = TestServer::on(place).config(LIMIT).start().await;
        let (alice, admin) = (server.register("alice").await, register_admin(&server).await);
        // Its server says so.
        let complex = || Router::new().route("/{*path}", get(async || r#"{"v1":0.02}"#));
        let peer = Peer::answering(|_| complex()).await;
        let join = format!("{CLIENT}/join/!complex:{}", peer.name());
        let refused = server.post(&join, &alice.token, json!({})).await;
        assert_eq!(refused.refusal(), (400, "M_RESOURCE_LIMIT_EXCEEDED"));
        assert_eq!(refused.body["error"], "Too much.");
        assert!(!peer.received().iter().any(|request| request.uri.contains("make_join")));
        // Its server does not say, and it is seen after the join.
        let host = BigRoom::new(2, 20).host(&[]).await;
        let join = format!("{CLIENT}/join/{}?via={}", host.room.id(), host.peer.name());
        let refused = server.post(&join, &alice.token, json!({})).await;
        assert_eq!(refused.refusal(), (400, "M_RESOURCE_LIMIT_EXCEEDED"));
        let joined = server.get(&format!("{CLIENT}/joined_rooms"), &alice.token).await;
        assert_eq!(joined.ok(), &json!({ "joined_rooms": [] }));
        server.post(&join, &admin, json!({})).await.ok();
    }
}
