//! `GET /password_policy`.

use plexus_testkit::{TestPlace, TestServer};
use serde_json::json;

use crate::client::{CLIENT, get_unauthenticated};

#[tokio::test]
async fn the_rules_that_are_on_are_shown() {
    let path = format!("{CLIENT}/password_policy");
    let without = TestServer::sqlite().await;
    assert_eq!(get_unauthenticated(&without, &path).await.ok(), &json!({}));
    let policy = "password_config: { policy: { enabled: true, minimum_length: 12, require_digit: true } }";
    let server = TestServer::on(TestPlace::sqlite()).config(policy).start().await;
    let rules = json!({ "m.minimum_length": 12, "m.require_digit": true });
    assert_eq!(get_unauthenticated(&server, &path).await.ok(), &rules);
}
