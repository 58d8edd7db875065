//! `POST /logout`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{LOGIN, WHOAMI, password_login, post_unauthenticated};

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
