//! `/_synapse/admin/v1/send_server_notice`, and the rooms of server notices.

use plexus_protocol::rules::RoomVersion;
use plexus_testkit::Peer;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::admin::register_admin;
use crate::client::{
    CLIENT, REGISTER, bodies, create, on_each_with, post_unauthenticated, room_path, send, state, sync,
};
use crate::federation::membership::create_invite;
use crate::federation::{self, json_of};

const SEND: &str = "/_synapse/admin/v1/send_server_notice";
const NOTICES: &str = "server_notices: {system_mxid_localpart: notices, room_topic: News, \
     room_avatar_url: 'mxc://test.example/room', system_mxid_avatar_url: 'mxc://test.example/user'}";

fn notice(user: &TestUser, text: &str) -> Value {
    json!({ "user_id": user.id, "content": { "msgtype": "m.text", "body": text } })
}

/// Sends a notice by POST.
async fn notify(server: &TestServer, admin: &str, user: &TestUser, text: &str) {
    server.post(SEND, admin, notice(user, text)).await.ok();
}

/// Returns the ids of the rooms to which the user is invited.
async fn invites(server: &TestServer, user: &TestUser) -> Vec<String> {
    let rooms = sync(server, user, None, "").await["rooms"]["invite"].clone();
    rooms.as_object().map(|rooms| rooms.keys().cloned().collect()).unwrap_or_default()
}

async fn enter(server: &TestServer, user: &TestUser) -> String {
    let [room] = &*invites(server, user).await else { panic!("one invite") };
    server.post(&room_path(room, "join"), &user.token, json!({})).await.ok();
    room.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_has_one_room_for_notices() {
    for server in on_each_with(NOTICES).await {
        let admin = register_admin(&server).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        notify(&server, &admin, &alice, "one").await;
        let room = enter(&server, &alice).await;
        notify(&server, &admin, &alice, "two").await;
        assert_eq!(invites(&server, &alice).await, [""; 0]);
        let synced = sync(&server, &alice, None, "").await;
        let joined = &synced["rooms"]["join"][&room];
        assert_eq!(bodies(&joined["timeline"]["events"]), ["one", "two"]);
        let tags = &joined["account_data"]["events"][0];
        assert_eq!(tags, &json!({ "type": "m.tag", "content": { "tags": { "m.server_notice": {} } } }));
        let of_state = async |key: &str| state(&server, &alice, &room, key).await.ok().clone();
        assert_eq!(of_state("m.room.name/").await, json!({ "name": "Server Notices" }));
        assert_eq!(of_state("m.room.topic/").await["topic"], "News");
        assert_eq!(of_state("m.room.avatar/").await, json!({ "url": "mxc://test.example/room" }));
        let sender = of_state(&format!("m.room.member/@notices:{}", server.name())).await;
        assert_eq!(sender["displayname"], "Notices");
        assert_eq!(sender["avatar_url"], "mxc://test.example/user");
        // The user can only read.
        let answer = send(&server, &alice, &room, "m.room.message", json!({ "msgtype": "m.text", "body": "hi" })).await;
        assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"));
        notify(&server, &admin, &bob, "three").await;
        assert_ne!(invites(&server, &bob).await, [room]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_has_left_gets_another_room() {
    for server in on_each_with(NOTICES).await {
        let admin = register_admin(&server).await;
        let alice = server.register("alice").await;
        notify(&server, &admin, &alice, "one").await;
        let [room] = &*invites(&server, &alice).await else { panic!("one invite") };
        let leave = room_path(room, "leave");
        let refused = server.post(&leave, &alice.token, json!({})).await;
        assert_eq!(refused.refusal(), (403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"));
        let by_state = room_path(room, &format!("state/m.room.member/{}", alice.id));
        for kick in ["kick", "ban"] {
            let refused = server.post(&room_path(room, kick), &alice.token, json!({ "user_id": alice.id })).await;
            assert_eq!(refused.status, 403, "{kick}");
        }
        let refused = server.put(&by_state, &alice.token, json!({ "membership": "leave" })).await;
        assert_eq!(refused.refusal(), (403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"));
        server.post(&room_path(room, "join"), &alice.token, json!({})).await.ok();
        server.post(&leave, &alice.token, json!({})).await.ok();
        notify(&server, &admin, &alice, "two").await;
        let next = enter(&server, &alice).await;
        assert_ne!(&next, room);
        let synced = sync(&server, &alice, None, "").await;
        assert_eq!(bodies(&synced["rooms"]["join"][&next]["timeline"]["events"]), ["two"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_transaction_sends_one_notice() {
    for mut server in on_each_with(NOTICES).await {
        let admin = register_admin(&server).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let path = format!("{SEND}/txn");
        let first = server.put(&path, &admin, notice(&alice, "one")).await.ok().clone();
        assert_eq!(server.put(&path, &admin, notice(&alice, "one")).await.ok(), &first);
        server.restart().await;
        assert_eq!(server.put(&path, &admin, notice(&alice, "one")).await.ok(), &first);
        assert_ne!(server.put(&path, &admin, notice(&bob, "one")).await.ok(), &first);
        let room = enter(&server, &alice).await;
        let synced = sync(&server, &alice, None, "").await;
        assert_eq!(bodies(&synced["rooms"]["join"][&room]["timeline"]["events"]), ["one"]);
        let long = format!("{SEND}/{}", "x".repeat(256));
        assert_eq!(server.put(&long, &admin, notice(&alice, "one")).await.refusal(), (400, "M_INVALID_PARAM"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_can_be_state_and_users_can_be_joined_at_once() {
    let config = "server_notices: {system_mxid_localpart: notices, auto_join: true}\nblock_non_admin_invites: true";
    for mut server in on_each_with(config).await {
        let admin = register_admin(&server).await;
        let alice = server.register("alice").await;
        let body = json!({ "user_id": alice.id, "type": "org.example.state", "state_key": "k", "content": { "a": 1 } });
        server.post(SEND, &admin, body).await.ok();
        let synced = sync(&server, &alice, None, "").await;
        let rooms = synced["rooms"]["join"].as_object().expect("rooms");
        let (room, _) = rooms.iter().next().expect("one room");
        assert_eq!(state(&server, &alice, room, "org.example.state/k").await.ok(), &json!({ "a": 1 }));
        // What the configuration says is brought up to date with the next notice.
        let options = server.config_mut().rooms.server_notices.as_mut().expect("configured");
        options.system_mxid_display_name = Some("Staff".to_owned());
        options.room_name = Some("News".to_owned());
        server.restart().await;
        notify(&server, &admin, &alice, "one").await;
        assert_eq!(state(&server, &alice, room, "m.room.name/").await.ok(), &json!({ "name": "News" }));
        let sender = format!("m.room.member/@notices:{}", server.name());
        assert_eq!(state(&server, &alice, room, &sender).await.ok()["displayname"], "Staff");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_be_or_invite_the_user_who_sends_notices() {
    for server in on_each_with(NOTICES).await {
        for username in ["notices", "Notices"] {
            let body = json!({ "username": username, "password": "a password", "auth": { "type": "m.login.dummy" } });
            let refused = post_unauthenticated(&server, REGISTER, body).await;
            assert_eq!(refused.status, 400, "{}", refused.body);
        }
        let alice = server.register("alice").await;
        let notices = format!("@notices:{}", server.name());
        let room = create(&server, &alice, json!({})).await;
        let invite = json!({ "user_id": notices });
        let refused = server.post(&room_path(&room, "invite"), &alice.token, invite).await;
        assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
        let with_invite = json!({ "invite": [notices] });
        let refused = server.post(&format!("{CLIENT}/createRoom"), &alice.token, with_invite).await;
        assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
        let peer = Peer::start().await;
        let version = RoomVersion::V11;
        let (room, create) = create_invite::room_of(&peer, version);
        let invite = create_invite::invite(&peer, version, &room, &notices);
        let body = json!({
            "room_version": version, "event": json_of(&invite), "invite_room_state": [json_of(&create)],
        });
        let path = federation::path("v2/invite", &[&room, invite.event_id().as_str()]);
        // For other servers there is no such user.
        assert_eq!(peer.put(&server, &path, body).await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test]
async fn notices_need_an_administrator_a_local_user_and_the_section() {
    let server = TestServer::sqlite().await;
    let admin = register_admin(&server).await;
    let alice = server.register("alice").await;
    assert_eq!(server.post(SEND, &alice.token, notice(&alice, "one")).await.refusal(), (403, "M_FORBIDDEN"));
    let path = format!("{SEND}/txn");
    assert_eq!(server.put(&path, &alice.token, notice(&alice, "one")).await.refusal(), (403, "M_FORBIDDEN"));
    assert_eq!(server.post(SEND, &admin, notice(&alice, "one")).await.refusal(), (400, "M_UNKNOWN"));
    let server = TestServer::on(plexus_testkit::TestPlace::sqlite()).config(NOTICES).start().await;
    let admin = register_admin(&server).await;
    let to = |user: &str| json!({ "user_id": user, "content": {} });
    assert_eq!(server.post(SEND, &admin, to("@bob:other.example")).await.refusal(), (400, "M_UNKNOWN"));
    let nobody = format!("@nobody:{}", server.name());
    assert_eq!(server.post(SEND, &admin, to(&nobody)).await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(server.post(SEND, &admin, json!({ "user_id": alice.id })).await.refusal(), (400, "M_MISSING_PARAM"));
}
