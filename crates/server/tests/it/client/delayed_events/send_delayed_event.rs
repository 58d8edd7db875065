//! `PUT /rooms/{room_id}/delayed_event/{event_type}/{txn_id}`, and the delays of `/send` and `/state`.

use std::time::Duration;

use plexus_store::repo::users;
use plexus_testkit::TestServer;
use serde_json::json;

use super::{
    START_MS, UNSTABLE, act, delay_id, finalised, is_scheduled, lookup, messages, schedule, schedule_state, servers,
    text,
};
use crate::client::{
    CLIENT, create, get_unauthenticated, post_unauthenticated, public_room, room_path, state, two_in_a_room,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_at_its_time_also_after_a_restart() {
    for mut server in servers("").await {
        let clock = server.clock().clone();
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let second = schedule(&server, &alice, &room, 20_000, "second").await;
        let first = schedule(&server, &alice, &room, 10_000, "first").await;
        let third = schedule(&server, &alice, &room, 30_000, "third").await;
        clock.advance(Duration::from_millis(9_999));
        assert!(is_scheduled(&server, &alice, &first).await);
        assert_eq!(messages(&server, &alice, &room).await, Vec::<String>::new());
        clock.advance(Duration::from_millis(1));
        let end = finalised(&server, &alice, &first).await;
        assert_eq!(end["finalised_ts"], START_MS + 10_000);
        let path = room_path(&room, &format!("event/{}", end["event_id"].as_str().unwrap()));
        let event = server.get(&path, &alice.token).await;
        assert_eq!((&event.ok()["sender"], &event.ok()["origin_server_ts"]), (&json!(alice.id), &end["finalised_ts"]));
        assert_eq!(event.ok()["unsigned"].get("transaction_id"), None);
        for name in ["delay_id", "org.matrix.msc4140.delay_id"] {
            assert_eq!(event.ok()["unsigned"][name], json!(first));
        }
        let bob = server.register("bob").await;
        server.post(&room_path(&room, "join"), &bob.token, json!({})).await.ok();
        assert_eq!(server.get(&path, &bob.token).await.ok()["unsigned"].get("delay_id"), None);

        // One becomes due while the server is stopped, and is sent when it starts.
        server.stop().await;
        clock.advance(Duration::from_secs(10));
        server.restart().await;
        assert!(finalised(&server, &alice, &second).await["event_id"].is_string());
        assert!(is_scheduled(&server, &alice, &third).await);
        clock.advance(Duration::from_secs(10));
        assert!(finalised(&server, &alice, &third).await["event_id"].is_string());
        assert_eq!(messages(&server, &alice, &room).await, ["first", "second", "third"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_and_state_take_a_delay() {
    for server in servers("").await {
        let clock = server.clock().clone();
        let (alice, _, room) = two_in_a_room(&server).await;
        let delayed = |rest: &str| room_path(&room, &format!("{rest}?org.matrix.msc4140.delay=5000"));
        let by_send = server.put(&delayed("send/m.room.message/1"), &alice.token, text("by send")).await;
        let again = server.put(&delayed("send/m.room.message/1"), &alice.token, text("by send")).await;
        assert_eq!(delay_id(&by_send), delay_id(&again));
        // The transaction ids of another type or endpoint are others.
        let own = room_path(&room, "delayed_event/m.room.message/1");
        let by_own = server.put(&own, &alice.token, json!({ "delay_ms": 5_000, "content": text("own") })).await;
        let another = server.put(&delayed("send/org.example.other/1"), &alice.token, text("another type")).await;
        assert!(![delay_id(&by_own), delay_id(&another)].contains(&delay_id(&by_send)));
        let posted = server.post(&delayed("send/m.room.message"), &alice.token, text("posted")).await;
        let topic = server.put(&delayed("state/m.room.topic"), &alice.token, json!({ "topic": "new" })).await;
        let leave = delayed(&format!("state/m.room.member/{}", alice.id));
        let leave = server.put(&leave, &alice.token, json!({ "membership": "leave" })).await;
        for wrong in ["0", "-1", "x", "1.5", ""] {
            let path = room_path(&room, &format!("send/m.room.message/2?org.matrix.msc4140.delay={wrong}"));
            let answer = server.put(&path, &alice.token, text("now?")).await;
            assert_eq!(answer.refusal(), (400, "M_INVALID_PARAM"), "{wrong:?}");
        }
        clock.advance(Duration::from_secs(5));
        for answer in [&by_send, &posted, &topic, &leave] {
            finalised(&server, &alice, &delay_id(answer)).await;
        }
        assert_eq!(state(&server, &alice, &room, "m.room.topic").await.ok()["topic"], "new");
        let joined = server.get(&format!("{CLIENT}/joined_rooms"), &alice.token).await;
        assert_eq!(joined.ok()["joined_rooms"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_keeps_its_error() {
    for server in servers("").await {
        let clock = server.clock().clone();
        let (alice, bob, room) = two_in_a_room(&server).await;
        // Bob may not set the topic: that is decided when the event is due.
        let topic = room_path(&room, "state/m.room.topic?org.matrix.msc4140.delay=1000");
        let refused = delay_id(&server.put(&topic, &bob.token, json!({ "topic": "b" })).await);
        let levels = json!({ "users": { &bob.id: 50 } });
        let allowed = delay_id(&server.put(&topic.replace("1000", "2000"), &bob.token, json!({ "topic": "c" })).await);
        clock.advance(Duration::from_secs(1));
        let end = finalised(&server, &bob, &refused).await;
        assert_eq!((&end["error"]["errcode"], end.get("event_id")), (&json!("M_FORBIDDEN"), None));
        server.put(&room_path(&room, "state/m.room.power_levels"), &alice.token, levels).await.ok();
        clock.advance(Duration::from_secs(1));
        assert!(finalised(&server, &bob, &allowed).await["event_id"].is_string());
        assert_eq!(state(&server, &alice, &room, "m.room.topic").await.ok()["topic"], "c");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_scheduled_are_refused() {
    for server in servers("").await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let stable = room_path(&room, "delayed_event/m.room.message/1");
        let unstable = format!("{UNSTABLE}/rooms/{room}/delayed_event/m.room.message/1");
        let content = text("x");
        let wrong = [
            (json!({ "delay_ms": 0, "content": content }), "M_INVALID_PARAM"),
            (json!({ "delay_ms": -5, "content": content }), "M_INVALID_PARAM"),
            (json!({ "delay_ms": 1.5, "content": content }), "M_BAD_JSON"),
            (json!({ "delay_ms": "5", "content": content }), "M_BAD_JSON"),
            (json!({ "content": content }), "M_MISSING_PARAM"),
            (json!({ "delay_ms": 5 }), "M_MISSING_PARAM"),
            (json!({ "delay_ms": 5, "content": [] }), "M_BAD_JSON"),
            (json!({ "delay_ms": 5, "content": { "n": 0.5 } }), "M_BAD_JSON"),
            (json!({ "delay_ms": 5, "content": content, "state_key": 1 }), "M_BAD_JSON"),
            (json!({ "delay_ms": 5, "content": content, "state_key": "\0" }), "M_INVALID_PARAM"),
        ];
        for (body, errcode) in wrong {
            let answer = server.put(&stable, &alice.token, body.clone()).await;
            assert_eq!(answer.refusal(), (400, errcode), "{body}");
        }
        for text in ["%00/1", "m.room.message/%00"] {
            for path in [format!("delayed_event/{text}"), format!("send/{text}?org.matrix.msc4140.delay=5")] {
                let body = json!({ "delay_ms": 5, "content": content });
                let answer = server.put(&room_path(&room, &path), &alice.token, body).await;
                assert_eq!(answer.refusal(), (400, "M_INVALID_PARAM"), "{path}");
            }
        }
        let body = json!({ "delay_ms": 3_600_001, "content": content });
        let too_long = server.put(&stable, &alice.token, body.clone()).await;
        assert_eq!(too_long.refusal(), (400, "M_DELAY_TOO_LARGE"));
        assert_eq!(too_long.body["max_delay"], 3_600_000);
        let too_long = server.put(&unstable, &alice.token, body).await;
        assert_eq!(too_long.refusal(), (400, "ORG.MATRIX.MSC4140_DELAY_TOO_LARGE"));
        assert_eq!(too_long.body["org.matrix.msc4140.max_delay"], 3_600_000);
        // matrix-js-sdk shortens the delay when it reads this.
        let query = room_path(&room, "send/m.room.message/1?org.matrix.msc4140.delay=3600001");
        let too_long = server.put(&query, &alice.token, content.clone()).await;
        assert_eq!(too_long.refusal(), (400, "M_UNKNOWN"));
        assert_eq!(too_long.body["org.matrix.msc4140.errcode"], "M_MAX_DELAY_EXCEEDED");
        assert_eq!(too_long.body["org.matrix.msc4140.max_delay"], 3_600_000);

        let body = json!({ "delay_ms": 5, "content": content });
        let nowhere = room_path("!nowhere:test.example", "delayed_event/m.room.message/1");
        assert_eq!(server.put(&nowhere, &alice.token, body.clone()).await.refusal(), (403, "M_FORBIDDEN"));
        // Whether there is a room is not said.
        let mallory = server.register("mallory").await;
        let there = server.put(&stable, &mallory.token, body.clone()).await;
        let not_there = server.put(&nowhere, &mallory.token, body.clone()).await;
        assert_eq!((there.refusal(), &there.body), (not_there.refusal(), &not_there.body));
        let long = room_path(&room, &format!("delayed_event/{}/1", "x".repeat(256)));
        assert_eq!(server.put(&long, &alice.token, body).await.refusal(), (413, "M_TOO_LARGE"));
        let large = json!({ "delay_ms": 5, "content": text(&"x".repeat(65_536)) });
        assert_eq!(server.put(&stable, &alice.token, large).await.refusal(), (413, "M_TOO_LARGE"));
        // The largest delay is fine, and the unstable form takes its earlier name.
        let body = json!({ "delay": 3_600_000, "content": content });
        delay_id(&server.put(&unstable, &alice.token, body).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_a_limited_number_of_them() {
    for server in servers("experimental_features: {msc4140_max_delayed_events_per_user: 2}").await {
        let clock = server.clock().clone();
        let (alice, bob, room) = two_in_a_room(&server).await;
        let other = create(&server, &alice, json!({})).await;
        let first = schedule(&server, &alice, &room, 10_000, "first").await;
        schedule(&server, &alice, &other, 60_000, "second").await;
        schedule(&server, &bob, &room, 60_000, "bob").await;
        clock.advance(Duration::from_millis(500));
        let path = room_path(&room, "delayed_event/m.room.message/third");
        let body = json!({ "delay_ms": 1_000, "content": text("third") });
        let refused = server.put(&path, &alice.token, body.clone()).await;
        assert_eq!(refused.refusal(), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(refused.body["retry_after_ms"], 9_500);
        assert_eq!(refused.headers["retry-after"], "10");
        // A repeated request is no further event.
        assert_eq!(schedule(&server, &alice, &room, 10_000, "first").await, first);
        clock.advance(Duration::from_millis(9_500));
        finalised(&server, &alice, &first).await;
        delay_id(&server.put(&path, &alice.token, body).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_them_counts_against_the_rate_limit() {
    for server in servers("rc_message: {per_second: 0.001, burst_count: 3}").await {
        let clock = server.clock().clone();
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let delayed = schedule(&server, &alice, &room, 1_000, "one").await;
        let early = schedule(&server, &alice, &room, 10_000, "two").await;
        server.put(&room_path(&room, "send/m.room.message/1"), &alice.token, text("now")).await.ok();
        clock.advance(Duration::from_secs(1));
        // It is not tried again: the user decides.
        assert_eq!(finalised(&server, &alice, &delayed).await["error"]["errcode"], "M_LIMIT_EXCEEDED");
        assert_eq!(act(&server, &alice, &early, "send").await.refusal(), (429, "M_LIMIT_EXCEEDED"));
        assert!(is_scheduled(&server, &alice, &early).await);
        let path = room_path(&room, "delayed_event/m.room.message/three");
        let body = json!({ "delay_ms": 1_000, "content": text("three") });
        assert_eq!(server.put(&path, &alice.token, body).await.refusal(), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(messages(&server, &alice, &room).await, ["now"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_what_it_accepts() {
    for mut server in servers("").await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let kept = schedule(&server, &alice, &room, 1_000, "kept").await;
        let capabilities = async |server: &TestServer| {
            server.get(&format!("{CLIENT}/capabilities"), &alice.token).await.ok()["capabilities"].clone()
        };
        let found = capabilities(&server).await;
        let limits = json!({ "max_delay_ms": 3_600_000, "max_scheduled": 100 });
        assert_eq!((&found["m.delayed_events"], &found["org.matrix.msc4140.delayed_events"]), (&limits, &limits));
        let features = get_unauthenticated(&server, "/_matrix/client/versions").await.ok()["unstable_features"].clone();
        assert_eq!(
            (&features["org.matrix.msc4140"], &features["org.matrix.msc4140.stable"]),
            (&json!(true), &json!(true))
        );

        server.config_mut().server.max_event_delay_duration = None;
        server.restart().await;
        let found = capabilities(&server).await;
        assert_eq!((found.get("m.delayed_events"), found.get("org.matrix.msc4140.delayed_events")), (None, None));
        let features = get_unauthenticated(&server, "/_matrix/client/versions").await.ok()["unstable_features"].clone();
        assert_eq!(features["org.matrix.msc4140"], false);
        let query = room_path(&room, "send/m.room.message/1?org.matrix.msc4140.delay=1");
        assert_eq!(server.put(&query, &alice.token, text("x")).await.refusal(), (403, "M_FORBIDDEN"));
        // What was accepted before is still sent.
        server.clock().advance(Duration::from_secs(1));
        assert!(finalised(&server, &alice, &kept).await["event_id"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_a_deactivated_user_are_forgotten() {
    for server in servers("").await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let delayed = schedule(&server, &bob, &room, 1_000, "late").await;
        schedule_state(&server, &bob, &room, "bob", 1_000).await;
        let body = crate::client::with_password(&bob, &json!(null), json!({}));
        server.post(&format!("{CLIENT}/account/deactivate"), &bob.token, body).await.ok();
        let own = schedule(&server, &alice, &room, 1_000, "own").await;
        server.clock().advance(Duration::from_secs(1));
        finalised(&server, &alice, &own).await;
        assert_eq!(messages(&server, &alice, &room).await, ["own"]);
        assert_eq!(lookup(&server, &alice, &delayed).await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_user_sends_nothing_and_what_was_sent_before_is_known() {
    for mut server in servers("").await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let locked = schedule(&server, &alice, &room, 1_000, "locked").await;
        let sent = schedule(&server, &alice, &room, 2_000, "sent").await;
        let last = schedule(&server, &bob, &room, 3_000, "last").await;
        // As if the server had been killed between the event and the record of it.
        let login = json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": alice.id },
            "password": "password of alice", "device_id": "org.matrix.msc4140.delayed_event",
        });
        let token = post_unauthenticated(&server, &format!("{CLIENT}/login"), login).await.ok()["access_token"].clone();
        let path = room_path(&room, &format!("send/m.room.message/{sent}"));
        let event = server.put(&path, token.as_str().unwrap(), text("sent")).await.ok()["event_id"].clone();

        set_locked(&mut server, &alice.id, true).await;
        server.clock().advance(Duration::from_secs(3));
        // Those of one room are sent one after the other.
        finalised(&server, &bob, &last).await;
        set_locked(&mut server, &alice.id, false).await;
        assert_eq!(finalised(&server, &alice, &locked).await["error"]["errcode"], "M_USER_LOCKED");
        assert_eq!(finalised(&server, &alice, &sent).await["event_id"], event);
        assert_eq!(messages(&server, &alice, &room).await, ["sent", "last"]);
    }
}

async fn set_locked(server: &mut TestServer, user: &str, locked: bool) {
    let (database, user) = (server.open_database().await, user.to_owned());
    database.write(move |tx| users::set_locked(tx, &user, locked)).await.unwrap();
    database.close().await;
    server.restart().await;
}
