//! `GET /openid/userinfo`.

use std::time::Duration;

use http::Method;
use plexus_base::Clock;
use plexus_testkit::TestServer;
use serde_json::json;

#[tokio::test]
async fn an_openid_token_tells_who_asked_for_it() {
    let clock = Clock::manual(1_700_000_000_000);
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let alice = server.register("alice").await;
        let userinfo = async |query: &str| {
            server.request(Method::GET, &format!("/_matrix/federation/v1/openid/userinfo{query}"), None, None).await
        };
        assert_eq!(userinfo("").await.refusal(), (401, "M_MISSING_TOKEN"));
        assert_eq!(userinfo(&format!("?access_token={}", alice.token)).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        let path = format!("/_matrix/client/v3/user/{}/openid/request_token", alice.id);
        let issued = server.post(&path, &alice.token, json!({})).await;
        assert_eq!(
            (&issued.ok()["expires_in"], &issued.ok()["matrix_server_name"]),
            (&json!(3600), &json!("test.example"))
        );
        let query = format!("?access_token={}", issued.body["access_token"].as_str().unwrap_or_default());
        assert_eq!(userinfo(&query).await.ok(), &json!({ "sub": alice.id }));
        clock.advance(Duration::from_secs(3601));
        assert_eq!(userinfo(&query).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
    }
}
