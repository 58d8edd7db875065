//! Joining large rooms of other servers.

use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{BigRoom, Peer, RoomHost};
use serde_json::json;

/// The path by which a client joins the room.
fn join_path(host: &RoomHost) -> String {
    format!("/_matrix/client/v3/join/{}?via={}", host.room.id(), host.peer.name())
}

fn client(host: &RoomHost, rest: &str) -> String {
    format!("/_matrix/client/v3/rooms/{}/{rest}", host.room.id())
}

async fn joined_members(server: &TestServer, user: &TestUser, host: &RoomHost) -> usize {
    let answer = server.get(&client(host, "joined_members"), &user.token).await;
    answer.ok()["joined"].as_object().map_or(0, |joined| joined.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_told_as_a_whole() {
    let other = Peer::start().await;
    for server in TestServer::on_each().await {
        let host = BigRoom::new(300, 450).host(&[&other]).await;
        host.room.set_ways(|ways| ways.omits_members = false);
        let alice = server.register("alice").await;
        server.post(&join_path(&host), &alice.token, json!({})).await.ok();
        assert_eq!(joined_members(&server, &alice, &host).await, 301);
        let state = server.get(&client(&host, "state"), &alice.token).await;
        assert_eq!(state.ok().as_array().map(Vec::len), Some(451));
    }
}
