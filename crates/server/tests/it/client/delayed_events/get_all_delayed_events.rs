//! `GET /delayed_events`, unstable.

use serde_json::json;

use super::{START_MS, UNSTABLE, act, schedule, schedule_state, servers};
use crate::client::two_in_a_room;

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_events_are_listed_in_order() {
    for server in servers("").await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let later = schedule(&server, &alice, &room, 20_000, "later").await;
        let state = schedule_state(&server, &alice, &room, "key", 10_000).await;
        let cancelled = schedule(&server, &alice, &room, 20_000, "cancelled").await;
        act(&server, &alice, &cancelled, "cancel").await.ok();
        let list = format!("{UNSTABLE}/delayed_events");
        let expected = json!({ "delayed_events": [
            {
                "delay_id": state, "room_id": room, "type": "org.example.call", "state_key": "key",
                "delay": 10_000, "running_since": START_MS, "delay_ms": 10_000, "delayed_since_ts": START_MS,
                "content": { "left": true },
            },
            {
                "delay_id": later, "room_id": room, "type": "m.room.message",
                "delay": 20_000, "running_since": START_MS, "delay_ms": 20_000, "delayed_since_ts": START_MS,
                "content": { "msgtype": "m.text", "body": "later" },
            },
        ] });
        assert_eq!(server.get(&list, &alice.token).await.ok(), &expected);
        assert_eq!(server.get(&list, &bob.token).await.ok(), &json!({ "delayed_events": [] }));
    }
}
