//! `GET /timestamp_to_event/{room_id}`.

use plexus_testkit::Peer;
use plexus_testkit::server::TestServer;

use crate::client::say;
use crate::federation::event::{ask, shared};

#[tokio::test(flavor = "multi_thread")]
async fn the_event_nearest_to_a_time() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = shared(&server, &peer, &alice).await;
        let last = say(&server, &alice, &room, "last").await;
        let near = async |query: &str| ask(&server, &peer, "v1/timestamp_to_event", &[&room], query).await;
        let answer = near("?ts=4102444800000&dir=b").await;
        assert_eq!(answer.ok()["event_id"], last.as_str());
        assert!(answer.body["origin_server_ts"].is_u64());
        assert_eq!(near("?ts=4102444800000&dir=f").await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(near("?ts=0&dir=x").await.refusal(), (400, "M_INVALID_PARAM"));
    }
}
