//! `POST /refresh`.

use std::time::Duration;

use plexus_base::Clock;
use plexus_testkit::places;
use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{LOGIN, WHOAMI, password_login, post_unauthenticated};

#[tokio::test]
async fn refreshing() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        server.register("alice").await;
        let mut body = password_login("alice", "password of alice");
        body["refresh_token"] = json!(true);
        let login = post_unauthenticated(&server, LOGIN, body).await;
        assert_eq!(login.ok()["expires_in_ms"], 300_000);
        let (token, refresh) = (login.body["access_token"].as_str().unwrap(), &login.body["refresh_token"]);
        clock.advance(Duration::from_secs(300));
        let expired = server.get(WHOAMI, token).await;
        assert_eq!((expired.refusal(), &expired.body["soft_logout"]), ((401, "M_UNKNOWN_TOKEN"), &json!(true)));
        let path = "/_matrix/client/v3/refresh";
        let refreshed = post_unauthenticated(&server, path, json!({ "refresh_token": refresh })).await;
        let token = refreshed.ok()["access_token"].as_str().unwrap();
        assert_eq!(server.get(WHOAMI, token).await.status, 200);
        assert_eq!(
            post_unauthenticated(&server, path, json!({ "refresh_token": refresh })).await.refusal(),
            (401, "M_UNKNOWN_TOKEN")
        );
        assert_eq!(post_unauthenticated(&server, path, json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
    }
}
