//! `POST /rooms/{room_id}/report/{event_id}`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{join, public_room, room_path, say};

#[tokio::test(flavor = "multi_thread")]
async fn reports() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    let event = say(&server, &alice, &room, "rude").await;
    let report = room_path(&room, &format!("report/{event}"));
    assert_eq!(server.post(&report, &bob.token, json!({})).await.refusal(), (404, "M_NOT_FOUND"));
    join(&server, &bob, &room).await;
    server.post(&report, &bob.token, json!({ "reason": "rude", "score": -100 })).await.ok();
    server.post(&room_path(&room, "report"), &bob.token, json!({ "reason": "rude" })).await.ok();
    let user = format!("/_matrix/client/v3/users/{}/report", alice.id);
    server.post(&user, &bob.token, json!({ "reason": "rude" })).await.ok();
    let missing = server.post(&room_path("!none:test.example", "report"), &bob.token, json!({ "reason": "" })).await;
    assert_eq!(missing.refusal(), (404, "M_NOT_FOUND"));
}
