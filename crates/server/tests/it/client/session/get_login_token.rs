//! `POST /login/get_token`.

use serde_json::json;

use crate::client::{LOGIN, get_unauthenticated, on_each_with, post_unauthenticated, with_password};

#[tokio::test]
async fn a_session_can_let_another_device_in() {
    for server in
        on_each_with("login_via_existing_session: {enabled: true, require_ui_auth: true, token_timeout: 2m}").await
    {
        let alice = server.register("alice").await;
        let flows = get_unauthenticated(&server, LOGIN).await;
        assert_eq!(flows.ok()["flows"][0], json!({ "type": "m.login.token", "get_login_token": true }));
        let path = "/_matrix/client/v1/login/get_token";
        let first = server.post(path, &alice.token, json!({})).await;
        assert_eq!(first.status, 401);
        let answer = server.post(path, &alice.token, with_password(&alice, &first.body["session"], json!({}))).await;
        assert_eq!(answer.ok()["expires_in_ms"], 120_000);
        let body = json!({ "type": "m.login.token", "token": answer.body["login_token"] });
        assert_eq!(post_unauthenticated(&server, LOGIN, body.clone()).await.ok()["user_id"], json!(alice.id));
        assert_eq!(post_unauthenticated(&server, LOGIN, body).await.refusal(), (403, "M_FORBIDDEN"));
    }
}
