//! `GET /rooms/{room_id}/complexity`, and what this server makes of others' (`limit_remote_rooms`).

use axum::Router;
use axum::routing::get;
use plexus_testkit::server::TestServer;
use plexus_testkit::{BigRoom, Peer, places};
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
