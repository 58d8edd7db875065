//! `GET /rooms/{room_id}/members`.

use plexus_testkit::server::TestServer;

use crate::client::membership::change;
use crate::client::{join, public_room, room_path};

#[tokio::test(flavor = "multi_thread")]
async fn members_now_and_then() {
    let server = TestServer::sqlite().await;
    let (alice, bob, carol) =
        (server.register("alice").await, server.register("bob").await, server.register("carol").await);
    let room = public_room(&server, &alice).await;
    let start = server.get(&room_path(&room, "messages?dir=b"), &alice.token).await;
    let at = start.ok()["start"].as_str().unwrap_or_default().to_owned();
    join(&server, &bob, &room).await;
    change(&server, &alice, &room, "invite", &carol).await.ok();
    let count = |query: String| {
        let (server, alice, path) = (&server, &alice, room_path(&room, &format!("members{query}")));
        async move { server.get(&path, &alice.token).await.ok()["chunk"].as_array().map(Vec::len) }
    };
    assert_eq!(count(String::new()).await, Some(3));
    assert_eq!(count("?membership=join".into()).await, Some(2));
    assert_eq!(count("?not_membership=join".into()).await, Some(1));
    assert_eq!(count(format!("?at={at}")).await, Some(1));
    let joined = server.get(&room_path(&room, "joined_members"), &bob.token).await;
    assert_eq!(joined.ok()["joined"].as_object().map(serde_json::Map::len), Some(2));
    let refused = server.get(&room_path(&room, "joined_members"), &carol.token).await;
    assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
}
