//! `GET /version`.

use http::Method;
use plexus_testkit::TestServer;

#[tokio::test]
async fn the_version() {
    let server = TestServer::sqlite().await;
    let answer = server.request(Method::GET, "/_matrix/federation/v1/version", None, None).await;
    assert_eq!(answer.ok()["server"]["name"], "Plexus");
    assert!(answer.body["server"]["version"].is_string());
}
