//! `POST /rooms/{room_id}/invite`, and everything else that invites: users who do not accept it.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{CLIENT, create, next_batch, on_each_with, room_path, state, sync};

const BLOCKED: (u16, &str) = (403, "M_INVITE_BLOCKED");

async fn set_account_data(server: &TestServer, user: &TestUser, event_type: &str, content: Value) {
    let path = format!("{CLIENT}/user/{}/account_data/{event_type}", user.id);
    server.put(&path, &user.token, content).await.ok();
}

async fn block_invites(server: &TestServer, user: &TestUser) {
    set_account_data(server, user, "m.invite_permission_config", json!({ "default_action": "block" })).await;
}

/// The rooms that a user learns to be invited to: from `/sync`, and from sliding sync.
async fn invites(server: &TestServer, user: &TestUser) -> [Vec<String>; 2] {
    let rooms = |rooms: &Value| rooms.as_object().into_iter().flat_map(|rooms| rooms.keys().cloned()).collect();
    let whole = sync(server, user, None, "").await;
    let list = json!({ "lists": { "invites": {
        "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [], "filters": { "is_invite": true },
    } } });
    let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0";
    let sliding = server.post(path, &user.token, list).await;
    [rooms(&whole["rooms"]["invite"]), rooms(&sliding.ok()["rooms"])]
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_blocks_invites_is_not_invited() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = create(&server, &alice, json!({})).await;
        block_invites(&server, &bob).await;
        let invite = json!({ "user_id": bob.id });
        assert_eq!(server.post(&room_path(&room, "invite"), &alice.token, invite.clone()).await.refusal(), BLOCKED);
        let member = room_path(&room, &format!("state/m.room.member/{}", bob.id));
        let by_state = server.put(&member, &alice.token, json!({ "membership": "invite" })).await;
        assert_eq!(by_state.refusal(), BLOCKED);
        let with_bob = json!({ "invite": [bob.id], "room_alias_name": "withbob" });
        let created = server.post(&format!("{CLIENT}/createRoom"), &alice.token, with_bob).await;
        assert_eq!(created.refusal(), BLOCKED);
        let alias = server.get(&format!("{CLIENT}/directory/room/%23withbob:test.example"), &alice.token).await;
        assert_eq!(alias.refusal(), (404, "M_NOT_FOUND"), "no room was created");
        let shown = state(&server, &alice, &room, &format!("m.room.member/{}", bob.id)).await;
        assert_eq!(shown.refusal(), (404, "M_NOT_FOUND"));

        set_account_data(&server, &bob, "m.invite_permission_config", json!({})).await;
        server.post(&room_path(&room, "invite"), &alice.token, invite).await.ok();
        assert_eq!(invites(&server, &bob).await, [vec![room.clone()], vec![room]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_invites_are_hidden_while_invites_are_blocked() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let before = sync(&server, &bob, None, "").await;
        let room = create(&server, &alice, json!({ "invite": [bob.id] })).await;
        assert_eq!(invites(&server, &bob).await, [vec![room.clone()], vec![room.clone()]]);
        block_invites(&server, &bob).await;
        assert_eq!(invites(&server, &bob).await, [vec![], vec![]] as [Vec<String>; 2]);
        let news = sync(&server, &bob, Some(next_batch(&before)), "").await;
        assert_eq!(news["rooms"]["invite"][&room], Value::Null);
        // The room shows it all the same, and the user may join.
        let member = state(&server, &alice, &room, &format!("m.room.member/{}", bob.id)).await;
        assert_eq!(member.ok()["membership"], "invite");
        server.post(&room_path(&room, "join"), &bob.token, json!({})).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knocked_and_blocks_invites_is_not_let_in_by_an_invite() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let join_rules = json!({ "type": "m.room.join_rules", "content": { "join_rule": "knock" } });
        let room = create(&server, &alice, json!({ "initial_state": [join_rules] })).await;
        block_invites(&server, &bob).await;
        server.post(&format!("{CLIENT}/knock/{room}"), &bob.token, json!({})).await.ok();
        let invite = json!({ "user_id": bob.id });
        assert_eq!(server.post(&room_path(&room, "invite"), &alice.token, invite).await.refusal(), BLOCKED);
        let member = state(&server, &alice, &room, &format!("m.room.member/{}", bob.id)).await;
        assert_eq!(member.ok()["membership"], "knock");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_are_filtered_by_their_sender() {
    const FILTER: &str = "org.matrix.msc4155.invite_permission_config";
    let filter = json!({ "allowed_users": ["@alice:*"], "ignored_users": ["@bor?d:*"], "blocked_servers": ["*"] });
    for server in on_each_with("experimental_features: {msc4155_enabled: true}").await {
        let versions = server.get("/_matrix/client/versions", "").await;
        assert_eq!(versions.ok()["unstable_features"]["org.matrix.msc4155"], true);
        let carol = server.register("carol").await;
        set_account_data(&server, &carol, FILTER, filter.clone()).await;
        let mut rooms = Vec::new();
        for (name, refused) in [("alice", false), ("bored", false), ("mallory", true)] {
            let inviter = server.register(name).await;
            let room = create(&server, &inviter, json!({})).await;
            let invite = json!({ "user_id": carol.id });
            let invited = server.post(&room_path(&room, "invite"), &inviter.token, invite).await;
            if refused {
                assert_eq!(invited.refusal(), BLOCKED);
            } else {
                invited.ok();
            }
            rooms.push(room);
        }
        assert_eq!(invites(&server, &carol).await, [vec![rooms[0].clone()], vec![rooms[0].clone()]]);
    }
    let server = TestServer::sqlite().await;
    let (alice, carol) = (server.register("mallory").await, server.register("carol").await);
    set_account_data(&server, &carol, FILTER, filter).await;
    create(&server, &alice, json!({ "invite": [carol.id] })).await;
    let versions = server.get("/_matrix/client/versions", "").await;
    assert_eq!(versions.ok()["unstable_features"]["org.matrix.msc4155"], false, "it is off by default");
}
