//! `hs_disabled`: nobody uses the server any more.

use plexus_accounts::{SignedRegistration, shared_secret_mac};
use plexus_testkit::TestServer;
use plexus_testkit::server::{Answer, TestUser};
use serde_json::{Value, json};

use crate::admin::register_admin;
use crate::client::{
    CLIENT, LOGIN, REGISTER, WHOAMI, bodies, create, get_unauthenticated, on_each_with, password_login,
    post_unauthenticated, room_path, sync,
};

const CONFIG: &str = "admin_contact: 'mailto:admin@test.example'\nallow_guest_access: true\n\
     server_notices: {system_mxid_localpart: notices, auto_join: true}";

async fn disable(server: &mut TestServer) {
    let options = &mut server.config_mut().blocking;
    options.hs_disabled = true;
    options.hs_disabled_message = "We have moved".to_owned();
    server.restart().await;
}

/// Returns the answers to requests that a disabled server refuses.
async fn refused(server: &TestServer, user: &TestUser, room: &str) -> Vec<Answer> {
    let registration = json!({ "username": "carol", "password": "a password", "auth": { "type": "m.login.dummy" } });
    let message = json!({ "msgtype": "m.text", "body": "hi" });
    let post = async |path: String, body: Value| server.post(&path, &user.token, body).await;
    vec![
        post_unauthenticated(server, LOGIN, password_login(&user.id, "password of alice")).await,
        post_unauthenticated(server, REGISTER, registration).await,
        post_unauthenticated(server, &format!("{REGISTER}?kind=guest"), json!({})).await,
        server.get(&format!("{CLIENT}/sync"), &user.token).await,
        server.get(&format!("{CLIENT}/events"), &user.token).await,
        post("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync".to_owned(), json!({})).await,
        post(format!("{CLIENT}/createRoom"), json!({})).await,
        server.put(&room_path(room, "send/m.room.message/1"), &user.token, message).await,
        server.put(&room_path(room, "state/m.room.name"), &user.token, json!({ "name": "Room" })).await,
        post(room_path(room, "join"), json!({})).await,
        post(room_path(room, "invite"), json!({ "user_id": "@bob:test.example" })).await,
        post(room_path(room, "kick"), json!({ "user_id": "@bob:test.example" })).await,
        post(room_path(room, "ban"), json!({ "user_id": "@bob:test.example" })).await,
        post(room_path(room, "unban"), json!({ "user_id": "@bob:test.example" })).await,
        post(room_path(room, "leave"), json!({})).await,
        post(room_path(room, "upgrade"), json!({ "new_version": "11" })).await,
        post(format!("{CLIENT}/knock/{room}"), json!({})).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_server_refuses_logins_syncs_and_writes() {
    for mut server in on_each_with(CONFIG).await {
        let alice = server.register("alice").await;
        let room = create(&server, &alice, json!({})).await;
        disable(&mut server).await;
        let answers = refused(&server, &alice, &room).await;
        for (number, answer) in answers.iter().enumerate() {
            let expected = json!({
                "errcode": "M_RESOURCE_LIMIT_EXCEEDED", "error": "We have moved",
                "admin_contact": "mailto:admin@test.example", "limit_type": "hs_disabled",
            });
            assert_eq!((answer.status, &answer.body), (403, &expected), "request {number}");
        }
        server.get(WHOAMI, &alice.token).await.ok();
        server.config_mut().blocking.hs_disabled = false;
        server.restart().await;
        let synced = sync(&server, &alice, None, "").await;
        assert!(synced["rooms"]["join"][&room].is_object(), "nothing has changed: {synced}");
    }
}

/// Registers an account that helps users, as administrators do, and returns its id and access token.
async fn register_support(server: &TestServer) -> (String, String) {
    let path = "/_synapse/admin/v1/register";
    let nonce = get_unauthenticated(server, path).await.ok()["nonce"].as_str().expect("a nonce").to_owned();
    let (username, password, user_type) = ("helper", "a password", Some("support"));
    let signed = SignedRegistration { nonce: &nonce, username, password, is_admin: false, user_type };
    let mac = shared_secret_mac("shared", signed);
    let body = json!({
        "nonce": nonce, "username": username, "password": password, "user_type": "support", "mac": mac,
    });
    let answer = post_unauthenticated(server, path, body).await;
    let field = |name: &str| answer.ok()[name].as_str().expect("a string").to_owned();
    (field("user_id"), field("access_token"))
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_and_accounts_that_help_users_go_on() {
    for mut server in on_each_with(CONFIG).await {
        let admin = register_admin(&server).await;
        disable(&mut server).await;
        let (helper, token) = register_support(&server).await;
        let notice = json!({ "user_id": helper, "content": { "msgtype": "m.text", "body": "moved" } });
        server.post("/_synapse/admin/v1/send_server_notice", &admin, notice).await.ok();
        let refused = server.post(&format!("{CLIENT}/createRoom"), &admin, json!({})).await;
        assert_eq!(refused.refusal(), (403, "M_RESOURCE_LIMIT_EXCEEDED"));
        server.post(&format!("{CLIENT}/createRoom"), &token, json!({ "name": "Help" })).await.ok();
        let synced = server.get(&format!("{CLIENT}/sync"), &token).await.ok().clone();
        let rooms = synced["rooms"]["join"].as_object().expect("rooms");
        let texts: Vec<&str> = rooms.values().flat_map(|room| bodies(&room["timeline"]["events"])).collect();
        assert_eq!(texts, ["moved"]);
        post_unauthenticated(&server, LOGIN, password_login(&helper, "a password")).await.ok();
    }
}
