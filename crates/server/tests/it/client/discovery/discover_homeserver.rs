//! `GET /.well-known/matrix/client`.

use http::Method;
use plexus_testkit::{TestPlace, TestServer};
use serde_json::json;

#[tokio::test]
async fn well_known() {
    let config = "
public_baseurl: https://matrix.example/
default_identity_server: https://identity.example
extra_well_known_client_content: {org.example.x: {y: 1}}";
    let server = TestServer::on(TestPlace::sqlite()).config(config).start().await;
    let answer = server.request(Method::GET, "/.well-known/matrix/client", None, None).await;
    let expected = json!({
        "m.homeserver": { "base_url": "https://matrix.example/" },
        "m.identity_server": { "base_url": "https://identity.example" },
        "org.example.x": { "y": 1 },
    });
    assert_eq!(answer.ok(), &expected);
}
