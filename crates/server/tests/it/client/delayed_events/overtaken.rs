//! Delayed state events whose state another user has set.

use std::time::Duration;

use plexus_testkit::{TestServer, TestUser};
use serde_json::json;

use super::{finalised, is_scheduled, schedule_state, servers};
use crate::client::{room_path, two_in_a_room};

/// A room in which everybody may set the state.
async fn open_room(server: &TestServer) -> (TestUser, TestUser, String) {
    let (alice, bob, room) = two_in_a_room(server).await;
    let levels = json!({ "state_default": 0 });
    server.put(&room_path(&room, "state/m.room.power_levels"), &alice.token, levels).await.ok();
    (alice, bob, room)
}

async fn set(server: &TestServer, user: &TestUser, room: &str, key: &str) {
    let path = room_path(room, &format!("state/org.example.call/{key}"));
    server.put(&path, &user.token, json!({ "by": user.id, "in": plexus_testkit::unique_name() })).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_event_is_cancelled_when_another_user_sets_the_state() {
    for mut server in servers("").await {
        let (alice, bob, room) = open_room(&server).await;
        // What was set before does not count.
        set(&server, &bob, &room, "taken").await;
        let taken = schedule_state(&server, &alice, &room, "taken", 10_000).await;
        let other_key = schedule_state(&server, &alice, &room, "other", 10_000).await;
        let of_bob = schedule_state(&server, &bob, &room, "taken", 10_000).await;
        // Nor what the user sets.
        set(&server, &alice, &room, "other").await;
        assert!(is_scheduled(&server, &alice, &taken).await);
        set(&server, &bob, &room, "taken").await;
        let end = finalised(&server, &alice, &taken).await;
        assert_eq!(end["error"]["errcode"], "M_UNKNOWN");
        assert_eq!(end["error"]["org.matrix.msc4140.errcode"], "M_CANCELLED_BY_STATE_UPDATE");
        server.restart().await;
        server.clock().advance(Duration::from_secs(10));
        for (user, delayed) in [(&alice, &other_key), (&bob, &of_bob)] {
            assert!(finalised(&server, user, delayed).await["event_id"].is_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_watched_after_a_restart_too() {
    for mut server in servers("").await {
        let (alice, bob, room) = open_room(&server).await;
        let delayed = schedule_state(&server, &alice, &room, "key", 10_000).await;
        server.restart().await;
        set(&server, &bob, &room, "key").await;
        assert_eq!(finalised(&server, &alice, &delayed).await["error"]["errcode"], "M_UNKNOWN");
    }
}
