//! `GET /rooms/{room_id}/timestamp_to_event`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{public_room, say};

#[tokio::test(flavor = "multi_thread")]
async fn the_event_nearest_to_a_time() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let room = public_room(&server, &alice).await;
    let said = say(&server, &alice, &room, "hello").await;
    let near = |ts: u64, dir: &'static str| {
        let path = format!("/_matrix/client/v1/rooms/{room}/timestamp_to_event?ts={ts}&dir={dir}");
        let (server, alice) = (&server, &alice);
        async move { server.get(&path, &alice.token).await }
    };
    let far = 4_000_000_000_000;
    assert_eq!(near(far, "b").await.ok()["event_id"], json!(said));
    assert_eq!(near(far, "f").await.refusal(), (404, "M_NOT_FOUND"));
    near(0, "f").await.ok();
}
