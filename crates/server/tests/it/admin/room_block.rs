//! `/_synapse/admin/v1/rooms/{room_id}/block`.

use plexus_protocol::rules::RoomVersion;
use plexus_testkit::Peer;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::json;

use crate::admin::register_admin;
use crate::client::{join, public_room, room_path, say};
use crate::federation::membership::create_invite;
use crate::federation::{self, json_of};

fn block_path(room: &str) -> String {
    format!("/_synapse/admin/v1/rooms/{room}/block")
}

async fn assert_closed(server: &TestServer, member: &TestUser, other: &TestUser, room: &str) {
    let invite = json!({ "user_id": other.id });
    let member_event = json!({ "membership": "invite" });
    let alias = format!("/_matrix/client/v3/directory/room/%23more:{}", server.name());
    let refused = [
        server.post(&room_path(room, "join"), &other.token, json!({})).await,
        server.post(&format!("/_matrix/client/v3/join/{room}"), &other.token, json!({})).await,
        server.post(&format!("/_matrix/client/v3/knock/{room}"), &other.token, json!({})).await,
        server.post(&room_path(room, "invite"), &member.token, invite).await,
        server.put(&room_path(room, &format!("state/m.room.member/{}", other.id)), &member.token, member_event).await,
        server.put(&alias, &member.token, json!({ "room_id": room })).await,
    ];
    for answer in refused {
        assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(answer.body["error"], "This room has been blocked on this server");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_enters_a_blocked_room() {
    for server in TestServer::on_each().await {
        let admin = register_admin(&server).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        assert_eq!(server.get(&block_path(&room), &admin).await.ok(), &json!({ "block": false }));
        assert_eq!(
            server.put(&block_path(&room), &admin, json!({ "block": true })).await.ok(),
            &json!({ "block": true })
        );
        let blocked = json!({ "block": true, "user_id": format!("@admin:{}", server.name()) });
        assert_eq!(server.get(&block_path(&room), &admin).await.ok(), &blocked);
        assert_closed(&server, &alice, &bob, &room).await;
        // Its members stay, and can leave.
        say(&server, &alice, &room, "still here").await;
        server.put(&block_path(&room), &admin, json!({ "block": false })).await.ok();
        join(&server, &bob, &room).await;
        server.put(&block_path(&room), &admin, json!({ "block": true })).await.ok();
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        let back = server.post(&room_path(&room, "join"), &bob.token, json!({})).await;
        assert_eq!(back.refusal(), (403, "M_FORBIDDEN"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_servers_cannot_invite_to_a_blocked_room() {
    for server in TestServer::on_each().await {
        let admin = register_admin(&server).await;
        let alice = server.register("alice").await;
        let peer = Peer::start().await;
        let version = RoomVersion::V11;
        let (room, create) = create_invite::room_of(&peer, version);
        let invite = create_invite::invite(&peer, version, &room, &alice.id);
        let body = json!({
            "room_version": version, "event": json_of(&invite), "invite_room_state": [json_of(&create)],
        });
        let invite = federation::path("v2/invite", &[&room, invite.event_id().as_str()]);
        server.put(&block_path(&room), &admin, json!({ "block": true })).await.ok();
        assert_eq!(peer.put(&server, &invite, body.clone()).await.refusal(), (403, "M_FORBIDDEN"));
        server.put(&block_path(&room), &admin, json!({ "block": false })).await.ok();
        peer.put(&server, &invite, body).await.ok();
    }
}

#[tokio::test]
async fn only_administrators_block_rooms() {
    let server = TestServer::sqlite().await;
    let admin = register_admin(&server).await;
    let alice = server.register("alice").await;
    let path_of_room = block_path("!room:test.example");
    for answer in [
        server.get(&path_of_room, &alice.token).await,
        server.put(&path_of_room, &alice.token, json!({ "block": true })).await,
    ] {
        assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"));
    }
    for (path, body, errcode) in [
        (&path_of_room, json!({}), "M_MISSING_PARAM"),
        (&path_of_room, json!({ "block": "yes" }), "M_BAD_JSON"),
        (&path_of_room, json!([]), "M_BAD_JSON"),
        (&block_path("room"), json!({ "block": true }), "M_INVALID_PARAM"),
    ] {
        assert_eq!(server.put(path, &admin, body).await.refusal(), (400, errcode), "{path}");
    }
}
