//! There are no bridges to third-party networks.

use plexus_testkit::TestServer;
use serde_json::json;

#[tokio::test]
async fn there_are_no_third_party_networks() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let ask = async |path: &str| server.get(&format!("/_matrix/client/v3/thirdparty/{path}"), &alice.token).await;
    assert_eq!(ask("protocols").await.ok(), &json!({}));
    assert_eq!(ask("protocol/irc").await.refusal(), (404, "M_NOT_FOUND"));
    for path in ["user", "user?userid=%40a%3Ab", "user/irc", "location", "location/irc?channel=x"] {
        assert_eq!(ask(path).await.ok(), &json!([]), "{path}");
    }
}
