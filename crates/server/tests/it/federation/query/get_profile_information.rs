//! `GET /query/profile`.

use plexus_testkit::{Peer, TestPlace, TestServer};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn profiles() {
    let server = TestServer::sqlite().await;
    let peer = Peer::start().await;
    let alice = server.register("alice").await;
    let set = format!("/_matrix/client/v3/profile/{}/displayname", alice.id);
    server.put(&set, &alice.token, json!({ "displayname": "Alice" })).await.ok();
    let ask = async |query: &str| peer.get(&server, &format!("/_matrix/federation/v1/query/profile?{query}")).await;
    assert_eq!(ask("user_id=%40alice%3Atest.example").await.ok(), &json!({ "displayname": "Alice" }));
    assert_eq!(ask("user_id=@alice:test.example&field=displayname").await.ok(), &json!({ "displayname": "Alice" }));
    assert_eq!(ask("user_id=@alice:test.example&field=avatar_url").await.ok(), &json!({}));
    assert_eq!(ask("user_id=@nobody:test.example").await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(ask("user_id=@alice:else.example").await.refusal(), (400, "M_UNKNOWN"));
    assert_eq!(ask("").await.refusal(), (400, "M_MISSING_PARAM"));

    let config = "allow_profile_lookup_over_federation: false";
    let silent = TestServer::on(TestPlace::sqlite()).config(config).start().await;
    let answer = peer.get(&silent, "/_matrix/federation/v1/query/profile?user_id=@alice:test.example").await;
    assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"));
}
