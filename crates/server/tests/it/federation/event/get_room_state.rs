//! `GET /state/{room_id}`.

use plexus_protocol::event::Pdu;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::Peer;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::federation::event::ask;
use crate::federation::{join, pdus, public_room, set};

#[tokio::test(flavor = "multi_thread")]
async fn state_before_an_event_and_what_allowed_it() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        for version in ["2", "3", "12"] {
            let room = public_room(&server, &alice, version).await;
            join(&server, &peer, &room, &peer.user("bob")).await;
            let version: RoomVersion = version.parse().expect("a version");
            set(&server, &alice, &room, "m.room.name", json!({ "name": "before" })).await;
            let renamed = set(&server, &alice, &room, "m.room.name", json!({ "name": "after" })).await;
            set(&server, &alice, &room, "m.room.topic", json!({ "topic": "later" })).await;
            let query = format!("?event_id={}", renamed.replace('+', "%2B"));
            let whole = ask(&server, &peer, "v1/state", &[&room], &query).await;
            let state = pdus(&whole, "pdus", version);
            let name = state.iter().find(|pdu| pdu.event_type() == "m.room.name").expect("the room had a name");
            assert_eq!(name.content().get_str("name"), Some("before"));
            assert!(!state.iter().any(|pdu| pdu.event_type() == "m.room.topic"));

            let ids = ask(&server, &peer, "v1/state_ids", &[&room], &query).await;
            let sorted = |events: &[Pdu]| {
                let mut ids: Vec<_> = events.iter().map(|pdu| pdu.event_id().as_str().to_owned()).collect();
                ids.sort();
                ids
            };
            let listed = |member: &str| {
                let ids = ids.ok()[member].as_array().cloned().unwrap_or_default();
                let mut ids: Vec<_> = ids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                ids.sort();
                ids
            };
            assert_eq!(listed("pdu_ids"), sorted(&state));
            let chain = pdus(&whole, "auth_chain", version);
            assert_eq!(listed("auth_chain_ids"), sorted(&chain));
            for pdu in &state {
                let known = |id| chain.iter().any(|other| other.event_id() == id);
                assert!(pdu.auth_events().iter().all(known), "version {version}: {pdu:?}");
            }

            let answer = ask(&server, &peer, "v1/event_auth", &[&room, &renamed], "").await;
            let chain = pdus(&answer, "auth_chain", version);
            let mut types: Vec<_> = chain.iter().map(Pdu::event_type).collect();
            types.sort();
            types.dedup();
            assert_eq!(types, ["m.room.create", "m.room.member", "m.room.power_levels"], "version {version}");
            assert!(!chain.iter().any(|pdu| pdu.event_id().as_str() == renamed));
        }
    }
}
