//! `POST /login`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{LOGIN, REGISTER, get_unauthenticated, on_each_with, password_login, post_unauthenticated};

#[tokio::test]
async fn login_by_password() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        assert_eq!(
            get_unauthenticated(&server, LOGIN).await.ok(),
            &json!({ "flows": [{ "type": "m.login.password" }] })
        );
        let mut body = password_login("alice", "password of alice");
        body["device_id"] = json!("PHONE");
        let answer = post_unauthenticated(&server, LOGIN, body).await;
        assert_eq!((&answer.ok()["user_id"], &answer.ok()["device_id"]), (&json!(alice.id), &json!("PHONE")));
        assert!(answer.ok().get("expires_in_ms").is_none());
        let legacy = json!({ "type": "m.login.password", "user": alice.id, "password": "password of alice" });
        assert_eq!(post_unauthenticated(&server, LOGIN, legacy).await.ok()["user_id"], json!(alice.id));

        for (body, expected) in [
            (password_login("alice", "wrong"), (403, "M_FORBIDDEN")),
            (password_login("nobody", "x"), (403, "M_FORBIDDEN")),
            (password_login("@alice:elsewhere", "password of alice"), (403, "M_FORBIDDEN")),
            (password_login("a\u{0}b", "x"), (403, "M_FORBIDDEN")),
            (json!({ "type": "m.login.password", "user": "alice" }), (400, "M_MISSING_PARAM")),
            (json!({ "type": "m.login.password", "password": "x" }), (400, "M_MISSING_PARAM")),
            (json!({ "type": "m.login.token", "token": "x" }), (400, "M_UNKNOWN")),
            (json!({ "type": "nonsense" }), (400, "M_UNKNOWN")),
            (json!({}), (400, "M_MISSING_PARAM")),
            (json!({ "type": 1 }), (400, "M_BAD_JSON")),
        ] {
            let answer = post_unauthenticated(&server, LOGIN, body.clone()).await;
            assert_eq!(answer.refusal(), expected, "{body}");
        }
    }
}

#[tokio::test]
async fn rate_limits() {
    let config = "
rc_login:
  address: {per_second: 0.1, burst_count: 8}
  account: {per_second: 1000, burst_count: 1000}
  failed_attempts: {per_second: 0.1, burst_count: 3}
rc_registration: {per_second: 0.1, burst_count: 2}
";
    for server in on_each_with(config).await {
        for name in ["alice", "bob"] {
            server.register(name).await;
        }
        let third = json!({ "username": "carol", "password": "x", "auth": { "type": "m.login.dummy" } });
        assert_eq!(post_unauthenticated(&server, REGISTER, third).await.refusal(), (429, "M_LIMIT_EXCEEDED"));
        for _ in 0..3 {
            assert_eq!(
                post_unauthenticated(&server, LOGIN, password_login("alice", "x")).await.refusal(),
                (403, "M_FORBIDDEN")
            );
        }
        // Also with the right password, or somebody could try on; and by whatever form of the name.
        let limited =
            post_unauthenticated(&server, LOGIN, password_login("@ALICE:test.example", "password of alice")).await;
        assert_eq!(limited.refusal(), (429, "M_LIMIT_EXCEEDED"));
        assert!(limited.body["retry_after_ms"].as_u64().unwrap() > 0);
        assert!(limited.headers.contains_key("retry-after"));
        // Other users are not kept out, until the address's own limit.
        for _ in 0..4 {
            post_unauthenticated(&server, LOGIN, password_login("bob", "password of bob")).await.ok();
        }
        let address = post_unauthenticated(&server, LOGIN, password_login("bob", "password of bob")).await;
        assert_eq!(address.refusal(), (429, "M_LIMIT_EXCEEDED"));
    }
}
