//! `PUT /rooms/{room_id}/typing/{user_id}`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{CLIENT, event, next_batch, sync, two_in_a_room};

#[tokio::test]
async fn typing_is_shown_to_the_room() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let first = sync(&server, &bob, None, "").await;
    let path = format!("{CLIENT}/rooms/{room}/typing/{}", alice.id);
    server.put(&path, &alice.token, json!({ "typing": true, "timeout": 30_000 })).await.ok();
    let answer = sync(&server, &bob, Some(next_batch(&first)), "").await;
    let typing = event(&answer["rooms"]["join"][&room]["ephemeral"], "m.typing").expect("typing");
    assert_eq!(typing["content"]["user_ids"], json!([alice.id]));
    assert_eq!(server.put(&path, &bob.token, json!({ "typing": true })).await.refusal(), (403, "M_FORBIDDEN"));
    assert_eq!(server.put(&path, &alice.token, json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
    let carol = server.register("carol").await;
    let outside = format!("{CLIENT}/rooms/{room}/typing/{}", carol.id);
    assert_eq!(server.put(&outside, &carol.token, json!({ "typing": true })).await.refusal(), (403, "M_FORBIDDEN"));
}
