//! `GET /.well-known/matrix/server`.

use http::Method;
use plexus_testkit::{TestPlace, TestServer};
use serde_json::json;

#[tokio::test]
async fn delegation_to_port_443() {
    let path = "/.well-known/matrix/server";
    let server = TestServer::sqlite().await;
    assert_eq!(server.request(Method::GET, path, None, None).await.refusal(), (404, "M_NOT_FOUND"));
    let server = TestServer::on(TestPlace::sqlite()).config("serve_server_wellknown: true").start().await;
    let answer = server.request(Method::GET, path, None, None).await;
    assert_eq!(answer.ok(), &json!({ "m.server": "test.example:443" }));
}
