//! `POST /user/{user_id}/openid/request_token`.

use plexus_testkit::server::TestServer;
use serde_json::json;

#[tokio::test]
async fn identity_for_others_and_addresses() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let path = |user: &str| format!("/_matrix/client/v3/user/{user}/openid/request_token");
        let token = server.post(&path(&alice.id), &alice.token, json!({})).await;
        assert_eq!(token.ok()["matrix_server_name"], "test.example");
        let other = server.post(&path("@bob:test.example"), &alice.token, json!({})).await;
        assert_eq!(other.refusal(), (403, "M_FORBIDDEN"));
        let stored = server.get("/_matrix/client/v3/account/3pid", &alice.token).await;
        assert_eq!(stored.ok(), &json!({ "threepids": [] }));
        let add = json!({ "client_secret": "x", "sid": "1" });
        let added = server.post("/_matrix/client/v3/account/3pid/add", &alice.token, add).await;
        assert_eq!(added.refusal(), (400, "M_THREEPID_AUTH_FAILED"));
    }
}
