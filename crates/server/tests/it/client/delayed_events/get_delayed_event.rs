//! `GET /delayed_events/{delay_id}`.

use std::time::Duration;

use serde_json::json;

use super::{START_MS, UNSTABLE, act, lookup, schedule, servers};
use crate::client::public_room;

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_sees_an_event_for_a_week_after_its_end() {
    for server in servers("").await {
        let clock = server.clock().clone();
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let delayed = schedule(&server, &alice, &room, 10_000, "x").await;
        let mut expected = json!({
            "delay_id": delayed, "room_id": room, "type": "m.room.message", "delay_ms": 10_000,
            "delayed_since_ts": START_MS, "content": { "msgtype": "m.text", "body": "x" },
        });
        assert_eq!(lookup(&server, &alice, &delayed).await.ok(), &expected);
        let unstable = server.get(&format!("{UNSTABLE}/delayed_events/{delayed}"), &alice.token).await;
        let mut with_earlier_names = expected.clone();
        with_earlier_names["delay"] = json!(10_000);
        with_earlier_names["running_since"] = json!(START_MS);
        assert_eq!(unstable.ok(), &with_earlier_names);
        assert_eq!(lookup(&server, &alice, "%00").await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(act(&server, &alice, "%00", "cancel").await.refusal(), (400, "M_INVALID_PARAM"));
        act(&server, &alice, &delayed, "cancel").await.ok();
        expected["finalised"] = json!({ "finalised_ts": START_MS });
        assert_eq!(lookup(&server, &alice, &delayed).await.ok(), &expected);

        clock.advance(Duration::from_secs(7 * 24 * 3_600 + 1));
        let another = schedule(&server, &alice, &room, 10_000, "y").await;
        act(&server, &alice, &another, "cancel").await.ok();
        assert_eq!(lookup(&server, &alice, &delayed).await.refusal(), (404, "M_NOT_FOUND"));
        lookup(&server, &alice, &another).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_hundred_of_a_user_are_kept() {
    for server in servers("").await {
        let clock = server.clock().clone();
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let mut all = Vec::new();
        for number in 0..102 {
            let delayed = schedule(&server, &alice, &room, 10_000, &number.to_string()).await;
            act(&server, &alice, &delayed, "cancel").await.ok();
            clock.advance(Duration::from_millis(1));
            all.push(delayed);
        }
        let mut kept = Vec::new();
        for delayed in &all {
            kept.push(lookup(&server, &alice, delayed).await.status);
        }
        assert_eq!(kept, [[404; 2].as_slice(), [200; 100].as_slice()].concat());
    }
}
