//! `POST /account/password`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{LOGIN, WHOAMI, password_login, post_unauthenticated, with_password};

#[tokio::test]
async fn changing_the_password() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let other = post_unauthenticated(&server, LOGIN, password_login("alice", "password of alice")).await;
        let other = other.ok()["access_token"].as_str().unwrap();
        let path = "/_matrix/client/v3/account/password";
        let body = json!({ "new_password": "new" });
        let first = server.post(path, &alice.token, body.clone()).await;
        assert_eq!((first.status, &first.body["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
        let mut wrong = with_password(&alice, &first.body["session"], body.clone());
        wrong["auth"]["password"] = json!("x");
        let refused = server.post(path, &alice.token, wrong).await;
        assert_eq!(refused.refusal(), (401, "M_FORBIDDEN"));
        assert_eq!(refused.body["session"], first.body["session"]);
        server.post(path, &alice.token, with_password(&alice, &first.body["session"], body)).await.ok();
        assert_eq!(server.get(WHOAMI, other).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        assert_eq!(server.get(WHOAMI, &alice.token).await.status, 200);
        assert_eq!(post_unauthenticated(&server, LOGIN, password_login("alice", "new")).await.status, 200);
        assert_eq!(
            post_unauthenticated(&server, LOGIN, password_login("alice", "password of alice")).await.status,
            403
        );
        let weak = server.post(path, &alice.token, json!({ "new_password": "" })).await;
        assert_eq!(weak.refusal(), (400, "M_INVALID_PARAM"));
    }
}
