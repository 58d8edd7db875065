//! `auto_accept_invites`: users join rooms to which they are invited.

use std::time::Duration;

use plexus_testkit::places;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::admin::make_admin;
use crate::client::{CLIENT, create, on_each_with, room_path, state, sync};

/// Waits until the user has joined the room, as another member sees it.
async fn joins(server: &TestServer, by: &TestUser, room: &str, user: &str) {
    let mut ticks = plexus_testkit::every(Duration::from_millis(20));
    let joined = async {
        loop {
            let member = state(server, by, room, &format!("m.room.member/{user}")).await;
            if member.status == 200 && member.body["membership"] == "join" {
                return;
            }
            ticks.tick().await;
        }
    };
    plexus_testkit::within(Duration::from_secs(30), joined).await.expect("the user joins");
}

async fn direct_chats(server: &TestServer, user: &TestUser) -> Value {
    let answer = server.get(&format!("{CLIENT}/user/{}/account_data/m.direct", user.id), &user.token).await;
    if answer.status == 404 { Value::Null } else { answer.ok().clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn invited_users_join_and_direct_chats_are_noted() {
    for server in on_each_with("auto_accept_invites: {enabled: true}").await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = create(&server, &alice, json!({})).await;
        server.post(&room_path(&room, "invite"), &alice.token, json!({ "user_id": bob.id })).await.ok();
        joins(&server, &alice, &room, &bob.id).await;
        assert_eq!(direct_chats(&server, &bob).await, Value::Null);
        let direct = create(&server, &alice, json!({ "invite": [bob.id], "is_direct": true })).await;
        joins(&server, &alice, &direct, &bob.id).await;
        let second = create(&server, &alice, json!({ "invite": [bob.id], "is_direct": true })).await;
        joins(&server, &alice, &second, &bob.id).await;
        let mut ticks = plexus_testkit::every(Duration::from_millis(20));
        let noted = async {
            while direct_chats(&server, &bob).await != json!({ alice.id.clone(): [direct, second] }) {
                ticks.tick().await;
            }
        };
        plexus_testkit::within(Duration::from_secs(30), noted).await.expect("both are noted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_invites_wait_for_the_user() {
    let config = "auto_accept_invites: {enabled: true, only_for_direct_messages: true}";
    for mut server in on_each_with(config).await {
        let (alice, bob, admin) =
            (server.register("alice").await, server.register("bob").await, server.register("admin").await);
        make_admin(&mut server, &admin).await;
        let group = create(&server, &alice, json!({ "invite": [bob.id] })).await;
        let suspend = format!("/_matrix/client/v1/admin/suspend/{}", bob.id);
        server.put(&suspend, &admin.token, json!({ "suspended": true })).await.ok();
        let suspended = create(&server, &alice, json!({ "invite": [bob.id], "is_direct": true })).await;
        // Invites are accepted in their order: another user's comes later.
        let carol = server.register("carol").await;
        let direct = create(&server, &alice, json!({ "invite": [carol.id], "is_direct": true })).await;
        joins(&server, &alice, &direct, &carol.id).await;
        let invites = sync(&server, &bob, None, "").await["rooms"]["invite"].clone();
        assert!(invites[&group].is_object() && invites[&suspended].is_object(), "{invites}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_of_ignored_users_are_not_accepted() {
    for server in on_each_with("auto_accept_invites: {enabled: true}").await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let ignored = format!("{CLIENT}/user/{}/account_data/m.ignored_user_list", bob.id);
        server.put(&ignored, &bob.token, json!({ "ignored_users": { alice.id.clone(): {} } })).await.ok();
        let unwanted = create(&server, &alice, json!({ "invite": [bob.id], "is_direct": true })).await;
        // Invites of one user are accepted in their order.
        let room = create(&server, &carol, json!({ "invite": [bob.id], "is_direct": true })).await;
        joins(&server, &carol, &room, &bob.id).await;
        let member = state(&server, &alice, &unwanted, &format!("m.room.member/{}", bob.id)).await;
        assert_eq!(member.ok()["membership"], "invite");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_of_other_servers_are_accepted_unless_only_local_ones_are() {
    for only_local in [false, true] {
        for place in places() {
            let config = format!("auto_accept_invites: {{enabled: true, only_from_local_users: {only_local}}}");
            let server = TestServer::on(place).federating().config(&config).start().await;
            let other = TestServer::on(plexus_testkit::TestPlace::sqlite()).federating().start().await;
            let (bob, alice) = (server.register("bob").await, other.register("alice").await);
            let room = create(&other, &alice, json!({ "invite": [bob.id], "is_direct": true })).await;
            if only_local {
                let carol = server.register("carol").await;
                let own = create(&server, &carol, json!({ "invite": [bob.id] })).await;
                joins(&server, &carol, &own, &bob.id).await;
                assert!(sync(&server, &bob, None, "").await["rooms"]["invite"][&room].is_object());
            } else {
                joins(&other, &alice, &room, &bob.id).await;
            }
        }
    }
}
