//! `POST /knock/{room_id_or_alias}`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::membership::change;
use crate::client::{create, join, state};

#[tokio::test(flavor = "multi_thread")]
async fn knocking() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = create(&server, &alice, json!({ "initial_state": rules })).await;
    let knock = format!("/_matrix/client/v3/knock/{room}");
    assert_eq!(server.post(&knock, &bob.token, json!({ "reason": "me" })).await.ok()["room_id"], json!(room));
    let member = state(&server, &alice, &room, &format!("m.room.member/{}", bob.id)).await;
    assert_eq!(member.ok()["membership"], "knock");
    change(&server, &alice, &room, "invite", &bob).await.ok();
    join(&server, &bob, &room).await;
    let closed = create(&server, &alice, json!({})).await;
    let knock = format!("/_matrix/client/v3/knock/{closed}");
    assert_eq!(server.post(&knock, &bob.token, json!({})).await.refusal(), (403, "M_FORBIDDEN"));
}
