//! `POST /account/deactivate`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{LOGIN, REGISTER, WHOAMI, password_login, post_unauthenticated, with_password};

#[tokio::test]
async fn deactivation_leaves_the_rooms() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = server.post("/_matrix/client/v3/createRoom", &bob.token, json!({ "preset": "public_chat" })).await;
        let room = room.ok()["room_id"].as_str().unwrap().to_owned();
        server.post(&format!("/_matrix/client/v3/join/{room}"), &alice.token, json!({})).await.ok();
        let path = "/_matrix/client/v3/account/deactivate";
        let first = server.post(path, &alice.token, json!({})).await;
        assert_eq!(first.status, 401);
        let body = with_password(&alice, &first.body["session"], json!({}));
        let answer = server.post(path, &alice.token, body).await;
        assert_eq!(answer.ok()["id_server_unbind_result"], "success");
        assert_eq!(server.get(WHOAMI, &alice.token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        let login = post_unauthenticated(&server, LOGIN, password_login("alice", "password of alice")).await;
        assert_eq!(login.refusal(), (403, "M_FORBIDDEN"));
        let taken = post_unauthenticated(&server, REGISTER, json!({ "username": "alice", "password": "x" })).await;
        assert_eq!(taken.refusal(), (400, "M_USER_IN_USE"));
        // Bob sees it without asking twice: the long poll ends with the leave.
        let mut since = String::new();
        loop {
            let sync = server.get(&format!("/_matrix/client/v3/sync?timeout=30000{since}"), &bob.token).await;
            let left = format!(r#""state_key":"{}""#, alice.id);
            let text = sync.ok()["rooms"]["join"][&room].to_string();
            if text.contains(&left) && text.contains(r#""membership":"leave""#) {
                break;
            }
            since = format!("&since={}", sync.ok()["next_batch"].as_str().unwrap());
        }
    }
}
