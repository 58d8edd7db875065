//! `PUT /send_knock/{room_id}/{event_id}`.

use plexus_protocol::event::Pdu;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::Peer;
use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::create;
use crate::federation::{make, membership, pdus, set, signed, submit};

#[tokio::test(flavor = "multi_thread")]
async fn knocking() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let bob = peer.user("bob");
        let room = create(&server, &alice, json!({ "room_version": "12", "name": "Door" })).await;
        assert_eq!(make(&server, &peer, "knock", &room, &bob).await.refusal(), (403, "M_FORBIDDEN"));
        set(&server, &alice, &room, "m.room.join_rules", json!({ "join_rule": "knock" })).await;
        let made = make(&server, &peer, "knock", &room, &bob).await;
        let pdu = signed(&peer, &made, |event| event["content"]["reason"] = json!("let me in"));
        let answer = submit(&server, &peer, "v1/send_knock", &room, &pdu, "").await;
        let state = pdus(&answer, "knock_room_state", RoomVersion::V12);
        let types: Vec<_> = state.iter().map(Pdu::event_type).collect();
        assert_eq!(types, ["m.room.create", "m.room.name", "m.room.join_rules"]);
        assert!(state.iter().all(|pdu| pdu.room_id().as_str() == room));
        assert_eq!(membership(&server, &alice, &room, &bob).await.as_deref(), Some("knock"));
        // Where knocking was not invented yet.
        let old = create(&server, &alice, json!({ "room_version": "6" })).await;
        assert_eq!(make(&server, &peer, "knock", &old, &bob).await.refusal(), (403, "M_FORBIDDEN"));
    }
}
