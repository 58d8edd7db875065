//! `POST /logout`.

use std::time::Duration;

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{LOGIN, WHOAMI, password_login, post_unauthenticated};

const SLIDING: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=60000&pos=";

#[tokio::test]
async fn logging_out() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let login = post_unauthenticated(&server, LOGIN, password_login("alice", "password of alice")).await;
        let other = login.ok()["access_token"].as_str().unwrap();
        assert_eq!(server.post("/_matrix/client/v3/logout", other, json!({})).await.ok(), &json!({}));
        let gone = server.get(WHOAMI, other).await;
        assert_eq!((gone.refusal(), &gone.body["soft_logout"]), ((401, "M_UNKNOWN_TOKEN"), &json!(false)));
        assert_eq!(server.get(WHOAMI, &alice.token).await.status, 200);
        server.post("/_matrix/client/v3/logout/all", &alice.token, json!({})).await.ok();
        assert_eq!(server.get(WHOAMI, &alice.token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
    }
}

/// A request that waits when its session ends learns nothing more.
#[tokio::test]
async fn a_sync_that_waits_ends_with_the_session() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = server.post("/_matrix/client/v3/createRoom", &alice.token, json!({})).await.ok()["room_id"].clone();
        let room = room.as_str().unwrap();
        for path in ["/_matrix/client/v3/sync?timeout=60000&since=", SLIDING] {
            let login = post_unauthenticated(&server, LOGIN, password_login("alice", "password of alice")).await;
            let stolen = login.ok()["access_token"].as_str().unwrap();
            let sync = async |pos: &str| {
                let path =
                    if pos.is_empty() { path.split('?').next().unwrap().to_owned() } else { format!("{path}{pos}") };
                if path.contains("msc3575") {
                    let list = json!({"ranges": [[0, 9]], "timeline_limit": 1, "required_state": []});
                    server.post(&path, stolen, json!({"lists": {"all": list}})).await
                } else {
                    server.get(&path, stolen).await
                }
            };
            let first = sync("").await;
            let position = first.ok().get("next_batch").or_else(|| first.body.get("pos")).unwrap().as_str().unwrap();
            let waiting = async {
                // Changes of its own device may come first.
                let mut position = position.to_owned();
                loop {
                    let response = sync(&position).await;
                    if response.status != 200 {
                        return response;
                    }
                    let next = response.body.get("next_batch").or_else(|| response.body.get("pos")).unwrap();
                    position = next.as_str().unwrap().to_owned();
                    assert!(!response.body.to_string().contains("after the logout"), "{}", response.body);
                }
            };
            let mut waiting = std::pin::pin!(waiting);
            let early = plexus_testkit::within(Duration::from_millis(500), waiting.as_mut()).await;
            assert!(early.is_err(), "it waits: {early:?}");
            server.post("/_matrix/client/v3/logout", stolen, json!({})).await.ok();
            let send = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{}", path.len());
            let message = json!({"msgtype": "m.text", "body": "after the logout"});
            server.put(&send, &alice.token, message).await.ok();
            let refused = waiting.await;
            assert_eq!(refused.refusal(), (401, "M_UNKNOWN_TOKEN"));
        }
    }
}
