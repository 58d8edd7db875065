//! `PUT /send_leave/{room_id}/{event_id}`.

use plexus_testkit::Peer;
use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::federation::{join, make, membership, path, public_room, signed, submit};

#[tokio::test(flavor = "multi_thread")]
async fn leaving_and_declining() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let bob = peer.user("bob");
        let room = public_room(&server, &alice, "6").await;
        assert_eq!(make(&server, &peer, "leave", &room, &bob).await.refusal(), (403, "M_FORBIDDEN"));
        join(&server, &peer, &room, &bob).await;
        let made = make(&server, &peer, "leave", &room, &bob).await;
        assert_eq!(made.ok()["event"]["content"], json!({ "membership": "leave" }));
        let pdu = signed(&peer, &made, |_| {});
        let as_join = submit(&server, &peer, "v2/send_join", &room, &pdu, "").await;
        assert_eq!(as_join.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(submit(&server, &peer, "v2/send_leave", &room, &pdu, "").await.ok(), &json!({}));
        assert_eq!(membership(&server, &alice, &room, &bob).await.as_deref(), Some("leave"));
        let old = submit(&server, &peer, "v1/send_join", &room, &pdu, "").await;
        assert_eq!(old.refusal(), (400, "M_INVALID_PARAM"));
        let (_, _) = join(&server, &peer, &room, &bob).await;
        let pdu = signed(&peer, &make(&server, &peer, "leave", &room, &bob).await, |_| {});
        assert_eq!(submit(&server, &peer, "v1/send_leave", &room, &pdu, "").await.ok(), &json!([200, {}]));
        assert_eq!(membership(&server, &alice, &room, &bob).await.as_deref(), Some("leave"));
        let leave = path("v1/make_leave", &["!unknown:test.example", &bob]);
        assert_eq!(peer.get(&server, &leave).await.refusal(), (404, "M_NOT_FOUND"));
    }
}
