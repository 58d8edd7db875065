//! `GET /.well-known/matrix/support`.

use http::Method;
use plexus_testkit::{TestPlace, TestServer};
use serde_json::json;

const PATH: &str = "/.well-known/matrix/support";

#[tokio::test]
async fn the_contact_is_that_of_the_configuration() {
    let config = "admin_contact: 'mailto:admin@test.example'";
    let server = TestServer::on(TestPlace::sqlite()).config(config).start().await;
    let answer = server.request(Method::GET, PATH, None, None).await;
    let contact = json!({ "role": "m.role.admin", "email_address": "admin@test.example" });
    assert_eq!(answer.ok(), &json!({ "contacts": [contact] }));
    let silent = TestServer::sqlite().await;
    assert_eq!(silent.request(Method::GET, PATH, None, None).await.refusal(), (404, "M_NOT_FOUND"));
}
