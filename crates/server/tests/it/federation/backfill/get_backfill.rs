//! `GET /backfill/{room_id}`.

use plexus_protocol::rules::RoomVersion;
use plexus_testkit::Peer;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::say;
use crate::federation::event::{ask, missing, shared};
use crate::federation::{bodies, pdus};

#[tokio::test(flavor = "multi_thread")]
async fn history_backwards_and_between() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = shared(&server, &peer, &alice).await;
        let mut sent = Vec::new();
        for number in 0..110 {
            sent.push(say(&server, &alice, &room, &number.to_string()).await);
        }
        let backfill = async |event: &str, limit: &str| {
            let answer = ask(&server, &peer, "v1/backfill", &[&room], &format!("?v={event}&limit={limit}")).await;
            assert_eq!(answer.ok()["origin"], "test.example");
            assert!(answer.body["origin_server_ts"].is_u64());
            bodies(&pdus(&answer, "pdus", RoomVersion::V11))
        };
        assert_eq!(backfill(&sent[5], "3").await, ["5", "4", "3"]);
        let most = backfill(&sent[109], "10000").await;
        assert_eq!((most.len(), most[99].as_str()), (100, "10"));

        let between = async |mut body: Value| {
            body["latest_events"] = json!([sent[50]]);
            bodies(&pdus(&missing(&server, &peer, &room, body).await, "events", RoomVersion::V11))
        };
        assert_eq!(between(json!({ "earliest_events": [sent[46]] })).await, ["47", "48", "49"]);
        assert_eq!(between(json!({ "earliest_events": [], "limit": 2 })).await, ["48", "49"]);
        assert_eq!(between(json!({ "earliest_events": [] })).await.len(), 10);
        assert_eq!(between(json!({ "earliest_events": [], "limit": 1000 })).await.len(), 20);
        let event = ask(&server, &peer, "v1/event", &[&sent[47]], "").await;
        let depth = pdus(&event, "pdus", RoomVersion::V11)[0].depth();
        assert_eq!(between(json!({ "earliest_events": [], "min_depth": depth })).await, ["47", "48", "49"]);
    }
}
