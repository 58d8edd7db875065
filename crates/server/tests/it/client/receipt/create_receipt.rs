//! `POST /rooms/{room_id}/receipt/{receipt_type}/{event_id}`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{CLIENT, event, next_batch, say, sync, two_in_a_room};

#[tokio::test]
async fn receipts_and_markers() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let sent = say(&server, &alice, &room, "hello").await;
        let first = sync(&server, &bob, None, "").await;
        let counts = json!({ "highlight_count": 0, "notification_count": 1 });
        assert_eq!(first["rooms"]["join"][&room]["unread_notifications"], counts);
        let receipt = |kind: &str| format!("{CLIENT}/rooms/{room}/receipt/{kind}/{sent}");
        server.post(&receipt("m.read"), &bob.token, json!({})).await.ok();
        server.post(&receipt("m.fully_read"), &bob.token, json!({})).await.ok();
        let answer = sync(&server, &bob, Some(next_batch(&first)), "").await;
        let shown = &answer["rooms"]["join"][&room];
        let receipts = event(&shown["ephemeral"], "m.receipt").expect("a receipt");
        assert!(receipts["content"][&sent]["m.read"][&bob.id]["ts"].is_u64());
        assert_eq!(event(&shown["account_data"], "m.fully_read").expect("a marker")["content"]["event_id"], sent);
        assert_eq!(shown["unread_notifications"]["notification_count"], 0);

        let next = say(&server, &alice, &room, "more").await;
        let markers = json!({ "m.fully_read": next, "m.read.private": next });
        server.post(&format!("{CLIENT}/rooms/{room}/read_markers"), &bob.token, markers).await.ok();
        let alices = sync(&server, &alice, None, "").await;
        let shown = event(&alices["rooms"]["join"][&room]["ephemeral"], "m.receipt").expect("receipts");
        assert!(shown["content"].get(&next).is_none(), "private: {shown}");

        assert_eq!(server.post(&receipt("m.liked"), &bob.token, json!({})).await.refusal(), (400, "M_INVALID_PARAM"));
        let threaded = json!({ "thread_id": "main" });
        let refused = server.post(&receipt("m.fully_read"), &bob.token, threaded).await;
        assert_eq!(refused.refusal(), (400, "M_INVALID_PARAM"));
        let carol = server.register("carol").await;
        assert_eq!(server.post(&receipt("m.read"), &carol.token, json!({})).await.refusal(), (403, "M_FORBIDDEN"));
    }
}
