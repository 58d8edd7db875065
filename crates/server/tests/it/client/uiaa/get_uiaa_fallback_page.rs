//! `GET /auth/{auth_type}/fallback/web`, `POST /auth/{auth_type}/fallback/web`.

use http::Method;
use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{REGISTER, get_unauthenticated, post_unauthenticated};

#[tokio::test]
async fn the_fallback_page_completes_a_stage() {
    let server = TestServer::sqlite().await;
    let body = json!({ "username": "alice", "password": "secret" });
    let first = post_unauthenticated(&server, REGISTER, body.clone()).await;
    let session = first.body["session"].as_str().unwrap();
    let page = format!("/_matrix/client/v3/auth/m.login.dummy/fallback/web?session={session}");
    let shown = get_unauthenticated(&server, &page).await;
    assert_eq!(shown.status, 200);
    assert!(shown.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    let form = format!("session={session}");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let sent = server.send(Method::POST, &page, None, &headers, form.into()).await;
    assert!(String::from_utf8_lossy(&sent.bytes).contains("onAuthDone"));
    let mut body = body;
    body["auth"] = json!({ "session": session });
    assert_eq!(post_unauthenticated(&server, REGISTER, body).await.ok()["user_id"], "@alice:test.example");

    let unknown = get_unauthenticated(&server, "/_matrix/client/v3/auth/m.login.dummy/fallback/web?session=x").await;
    assert_eq!(unknown.refusal(), (400, "M_UNKNOWN"));
    let stage = get_unauthenticated(&server, "/_matrix/client/v3/auth/m.login.sso/fallback/web?session=x").await;
    assert_eq!(stage.refusal(), (400, "M_UNRECOGNIZED"));
}
