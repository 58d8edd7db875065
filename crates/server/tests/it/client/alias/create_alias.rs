//! `PUT /directory/room/{room_alias}`.

use http::Method;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{public_room, room_path, state};

#[tokio::test(flavor = "multi_thread")]
async fn aliases_come_and_go() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    let alias = "/_matrix/client/v3/directory/room/%23a:test.example";
    let body = json!({ "room_id": room });
    assert_eq!(server.put(alias, &bob.token, body.clone()).await.refusal(), (403, "M_FORBIDDEN"));
    server.put(alias, &alice.token, body.clone()).await.ok();
    assert_eq!(server.put(alias, &alice.token, body.clone()).await.status, 409);
    let found = server.request(Method::GET, alias, None, None).await;
    assert_eq!((&found.ok()["room_id"], &found.body["servers"]), (&json!(room), &json!(["test.example"])));
    let content = json!({ "alias": "#a:test.example" });
    server.put(&room_path(&room, "state/m.room.canonical_alias"), &alice.token, content).await.ok();
    assert_eq!(
        server.get(&room_path(&room, "aliases"), &alice.token).await.ok()["aliases"],
        json!(["#a:test.example"])
    );
    assert_eq!(server.get(&room_path(&room, "aliases"), &bob.token).await.refusal(), (403, "M_FORBIDDEN"));
    assert_eq!(server.delete(alias, &bob.token).await.refusal(), (403, "M_FORBIDDEN"));
    let joined = server.post("/_matrix/client/v3/join/%23a:test.example", &bob.token, json!({})).await;
    assert_eq!(joined.ok()["room_id"], json!(room));
    server.delete(alias, &alice.token).await.ok();
    assert_eq!(state(&server, &alice, &room, "m.room.canonical_alias").await.ok()["alias"], Value::Null);
    assert_eq!(server.get(alias, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(server.delete(alias, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
    let other = "/_matrix/client/v3/directory/room/%23a:elsewhere.example";
    assert_eq!(server.put(other, &alice.token, body).await.refusal(), (400, "M_INVALID_PARAM"));
}
