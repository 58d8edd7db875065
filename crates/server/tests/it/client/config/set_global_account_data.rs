//! Account data, global and of a room.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{CLIENT, event, next_batch, sync, two_in_a_room};

#[tokio::test]
async fn account_data_is_stored_and_synced() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let first = sync(&server, &bob, None, "").await;
        let global = format!("{CLIENT}/user/{}/account_data/org.example", bob.id);
        let of_room = format!("{CLIENT}/user/{}/rooms/{room}/account_data/org.example", bob.id);
        assert_eq!(server.get(&global, &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
        server.put(&global, &bob.token, json!({ "a": 1 })).await.ok();
        server.put(&of_room, &bob.token, json!({ "b": 2 })).await.ok();
        assert_eq!(server.get(&global, &bob.token).await.ok(), &json!({ "a": 1 }));
        assert_eq!(server.get(&of_room, &bob.token).await.ok(), &json!({ "b": 2 }));
        let answer = sync(&server, &bob, Some(next_batch(&first)), "").await;
        assert_eq!(event(&answer["account_data"], "org.example").map(|event| &event["content"]["a"]), Some(&json!(1)));
        let shown = &answer["rooms"]["join"][&room]["account_data"];
        assert_eq!(event(shown, "org.example").map(|event| &event["content"]["b"]), Some(&json!(2)));

        assert_eq!(server.get(&global, &alice.token).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(server.put(&global, &alice.token, json!({})).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(server.put(&global, &bob.token, json!([])).await.refusal(), (400, "M_BAD_JSON"));
        let rules = format!("{CLIENT}/user/{}/account_data/m.push_rules", bob.id);
        assert_eq!(server.put(&rules, &bob.token, json!({})).await.refusal(), (405, "M_BAD_JSON"));
        assert!(server.get(&rules, &bob.token).await.ok()["global"]["override"].is_array());
        let marker = format!("{CLIENT}/user/{}/rooms/{room}/account_data/m.fully_read", bob.id);
        assert_eq!(server.put(&marker, &bob.token, json!({})).await.refusal(), (405, "M_BAD_JSON"));
    }
}
