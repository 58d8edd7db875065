//! `GET /notifications`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{CLIENT, say, two_in_a_room};

#[tokio::test]
async fn notifications_are_listed_newest_first() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let first = say(&server, &alice, &room, "one").await;
        let second = say(&server, &alice, &room, "hello bob").await;
        let receipt = format!("{CLIENT}/rooms/{room}/receipt/m.read/{first}");
        server.post(&receipt, &bob.token, json!({})).await.ok();
        let list = format!("{CLIENT}/notifications");
        let answer = server.get(&format!("{list}?limit=1"), &bob.token).await;
        let newest = &answer.ok()["notifications"][0];
        assert_eq!(newest["event"]["event_id"], second.as_str());
        assert_eq!(newest["room_id"], room.as_str());
        assert_eq!(newest["read"], false);
        let from = answer.ok()["next_token"].as_str().expect("there is more");
        let older = server.get(&format!("{list}?from={from}"), &bob.token).await;
        assert_eq!(older.ok()["notifications"][0]["event"]["event_id"], first.as_str());
        assert_eq!(older.ok()["notifications"][0]["read"], true);
        let highlights = server.get(&format!("{list}?only=highlight"), &bob.token).await;
        assert_eq!(highlights.ok()["notifications"].as_array().map(Vec::len), Some(1));
        assert!(server.get(&list, &alice.token).await.ok()["notifications"].as_array().is_some_and(Vec::is_empty));
    }
}
