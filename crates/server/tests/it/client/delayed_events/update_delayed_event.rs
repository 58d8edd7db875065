//! `POST /delayed_events/{delay_id}/{action}`.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::{
    START_MS, UNSTABLE, act, act_unauthenticated, finalised, is_scheduled, lookup, messages, schedule, schedule_state,
    servers,
};
use crate::client::{join, public_room, room_path, two_in_a_room};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_begins_the_delay_again() {
    for mut server in servers("").await {
        let clock = server.clock().clone();
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let delayed = schedule(&server, &alice, &room, 10_000, "left").await;
        for _ in 0..3 {
            clock.advance(Duration::from_millis(9_999));
            act(&server, &alice, &delayed, "restart").await.ok();
        }
        let now = START_MS + 3 * 9_999;
        assert_eq!(lookup(&server, &alice, &delayed).await.ok()["delayed_since_ts"], now);
        server.restart().await;
        clock.advance(Duration::from_millis(9_999));
        assert!(is_scheduled(&server, &alice, &delayed).await);
        clock.advance(Duration::from_millis(1));
        assert_eq!(finalised(&server, &alice, &delayed).await["finalised_ts"], now + 10_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_agrees_with_the_end_succeeds_and_another_conflicts() {
    for mut server in servers("").await {
        let clock = server.clock().clone();
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let cancelled = schedule(&server, &alice, &room, 10_000, "cancelled").await;
        let sent = schedule(&server, &alice, &room, 10_000, "sent").await;
        act(&server, &alice, &cancelled, "cancel").await.ok();
        act(&server, &alice, &sent, "send").await.ok();
        assert_eq!(messages(&server, &alice, &room).await, ["sent"]);
        for restarted in [false, true] {
            if restarted {
                server.restart().await;
                clock.advance(Duration::from_secs(60));
            }
            for (delay_id, agrees) in [(&cancelled, "cancel"), (&sent, "send")] {
                for action in ["cancel", "send", "restart"] {
                    let answer = act(&server, &alice, delay_id, action).await;
                    let unstable = act_unauthenticated(&server, delay_id, action).await;
                    if action == agrees {
                        assert_eq!((answer.ok(), unstable.ok()), (&json!({}), &json!({})));
                    } else {
                        assert_eq!(answer.refusal(), (409, "M_UNKNOWN"), "{action} after {agrees}");
                        // matrix-js-sdk schedules the event again when it reads this.
                        assert_eq!(unstable.refusal(), (404, "M_NOT_FOUND"), "{action} after {agrees}");
                    }
                }
            }
        }
        let end = finalised(&server, &alice, &cancelled).await;
        assert_eq!(end, json!({ "finalised_ts": START_MS }));
        assert!(finalised(&server, &alice, &sent).await["event_id"].is_string());
        assert_eq!(messages(&server, &alice, &room).await, ["sent"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_sent_now_stays_scheduled() {
    for server in servers("").await {
        let clock = server.clock().clone();
        let (alice, bob, room) = two_in_a_room(&server).await;
        let delayed = schedule(&server, &bob, &room, 10_000, "back").await;
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        assert_eq!(act(&server, &bob, &delayed, "send").await.refusal(), (403, "M_FORBIDDEN"));
        assert!(is_scheduled(&server, &bob, &delayed).await);
        act(&server, &bob, &delayed, "restart").await.ok();
        join(&server, &bob, &room).await;
        clock.advance(Duration::from_secs(10));
        assert!(finalised(&server, &bob, &delayed).await["event_id"].is_string());
        assert_eq!(messages(&server, &alice, &room).await, ["back"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_room_that_cannot_be_sent_at_once_stay_scheduled() {
    for server in servers("").await {
        let (_, bob, room) = two_in_a_room(&server).await;
        let mut delayed = Vec::new();
        for number in 0..3 {
            delayed.push(schedule(&server, &bob, &room, 100_000, &format!("n{number}")).await);
        }
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        // Each of them twice.
        let refused = delayed.iter().chain(&delayed).map(async |delay_id| {
            assert_eq!(act(&server, &bob, delay_id, "send").await.refusal(), (403, "M_FORBIDDEN"));
        });
        futures_util::future::join_all(refused).await;
        for delay_id in &delayed {
            assert!(is_scheduled(&server, &bob, delay_id).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_id_may_use_the_unstable_form() {
    for server in servers("").await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let delayed = schedule_state(&server, &alice, &room, "alice", 10_000).await;
        // As accepted, the owner alone.
        let stable = format!("/_matrix/client/v1/delayed_events/{delayed}/cancel");
        assert_eq!(server.request(Method::POST, &stable, None, None).await.refusal(), (401, "M_MISSING_TOKEN"));
        assert_eq!(act(&server, &bob, &delayed, "cancel").await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(lookup(&server, &bob, &delayed).await.refusal(), (404, "M_NOT_FOUND"));

        act_unauthenticated(&server, &delayed, "restart").await.ok();
        let by_body = format!("{UNSTABLE}/delayed_events/{delayed}");
        let without_token = |body| server.request(Method::POST, &by_body, None, Some(body));
        without_token(json!({ "action": "restart" })).await.ok();
        assert_eq!(without_token(json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
        assert_eq!(without_token(json!({ "action": "x" })).await.refusal(), (400, "M_INVALID_PARAM"));
        let wrong = server.post(&by_body, "wrong", json!({ "action": "restart" })).await;
        assert_eq!(wrong.refusal(), (401, "M_UNKNOWN_TOKEN"));
        assert_eq!(act_unauthenticated(&server, &delayed, "x").await.refusal(), (404, "M_UNRECOGNIZED"));
        assert_eq!(act(&server, &alice, &delayed, "x").await.refusal(), (404, "M_UNRECOGNIZED"));
        assert_eq!(act_unauthenticated(&server, "unknown", "send").await.refusal(), (404, "M_NOT_FOUND"));
        without_token(json!({ "action": "send" })).await.ok();
        assert!(finalised(&server, &alice, &delayed).await["event_id"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_limited_by_user_and_by_address() {
    for server in servers("rc_delayed_event_mgmt: {per_second: 0.001, burst_count: 2}").await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let delayed = schedule(&server, &alice, &room, 10_000, "x").await;
        for _ in 0..2 {
            act(&server, &alice, &delayed, "restart").await.ok();
            act_unauthenticated(&server, &delayed, "restart").await.ok();
        }
        assert_eq!(act(&server, &alice, &delayed, "restart").await.refusal(), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(lookup(&server, &alice, &delayed).await.refusal(), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(act_unauthenticated(&server, &delayed, "restart").await.refusal(), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(lookup(&server, &bob, &delayed).await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_room_that_are_sent_at_once_have_been_sent_when_that_is_said() {
    for server in servers("").await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let mut delayed = Vec::new();
        for number in 0..8 {
            delayed.push(schedule(&server, &alice, &room, 100_000, &format!("n{number}")).await);
        }
        let sent = delayed.iter().map(async |delay_id| {
            act(&server, &alice, delay_id, "send").await.ok();
            assert!(lookup(&server, &alice, delay_id).await.ok()["finalised"]["event_id"].is_string());
        });
        futures_util::future::join_all(sent).await;
        assert_eq!(messages(&server, &alice, &room).await.len(), 8);
    }
}
