//! `POST /rooms/{room_id}/report/{event_id}`, `/rooms/{room_id}/report` and `/users/{user_id}/report`.

use std::time::Duration;

use plexus_base::Clock;
use plexus_store::repo::bounds::BoundError;
use plexus_store::repo::reports::{self, Report};
use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{TestPlace, places};
use serde_json::json;

use crate::client::{join, on_each_with, public_room, room_path, say, two_in_a_room};

#[tokio::test(flavor = "multi_thread")]
async fn reports() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        let event = say(&server, &alice, &room, "rude").await;
        let report = room_path(&room, &format!("report/{event}"));
        assert_eq!(server.post(&report, &bob.token, json!({})).await.refusal(), (404, "M_NOT_FOUND"));
        join(&server, &bob, &room).await;
        server.post(&report, &bob.token, json!({ "reason": "rude", "score": -100 })).await.ok();
        server.post(&room_path(&room, "report"), &bob.token, json!({ "reason": "rude" })).await.ok();
        let user = format!("/_matrix/client/v3/users/{}/report", alice.id);
        server.post(&user, &bob.token, json!({ "reason": "rude" })).await.ok();
        let missing =
            server.post(&room_path("!none:test.example", "report"), &bob.token, json!({ "reason": "" })).await;
        assert_eq!(missing.refusal(), (404, "M_NOT_FOUND"));
        // It does not say who is known here.
        let unknown = "/_matrix/client/v3/users/@nobody:test.example/report";
        server.post(unknown, &bob.token, json!({ "reason": "rude" })).await.ok();
    }
}

struct Paths {
    event: String,
    room: String,
    user: String,
}

/// A room with an event of Alice's. Bob may report it, the room and Alice.
async fn reported(server: &TestServer) -> (TestUser, Paths) {
    let (alice, bob, room) = two_in_a_room(server).await;
    let event = room_path(&room, &format!("report/{}", say(server, &alice, &room, "rude").await));
    let user = format!("/_matrix/client/v3/users/{}/report", alice.id);
    (bob, Paths { event, room: room_path(&room, "report"), user })
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_reports_are_refused() {
    let server = TestServer::sqlite().await;
    let (bob, Paths { event, room, user }) = reported(&server).await;
    let long = json!({ "reason": "x".repeat(16 * 1024 + 1) });
    let cases = [
        (&event, json!({ "reason": 1 }), (400, "M_BAD_JSON")),
        (&event, json!({ "score": "low" }), (400, "M_BAD_JSON")),
        (&event, json!([]), (400, "M_BAD_JSON")),
        (&event, long.clone(), (413, "M_TOO_LARGE")),
        (&room, json!({}), (400, "M_MISSING_PARAM")),
        (&room, json!({ "reason": null }), (400, "M_BAD_JSON")),
        (&room, long.clone(), (413, "M_TOO_LARGE")),
        (&user, json!({}), (400, "M_MISSING_PARAM")),
        (&user, json!({ "reason": [] }), (400, "M_BAD_JSON")),
        (&user, long, (413, "M_TOO_LARGE")),
    ];
    for (path, body, refusal) in cases {
        let text: String = body.to_string().chars().take(100).collect();
        assert_eq!(server.post(path, &bob.token, body).await.refusal(), refusal, "{path}: {text}");
    }
    server.post(&event, &bob.token, json!({})).await.ok();
}

/// The reports of a user count together, whatever they are about.
#[tokio::test(flavor = "multi_thread")]
async fn reports_are_limited() {
    let place = TestPlace::sqlite();
    let config = "rc_reports: {per_second: 0.001, burst_count: 3}";
    let server = TestServer::on(place).config(config).start().await;
    let (bob, Paths { event, room, user }) = reported(&server).await;
    let body = json!({ "reason": "rude" });
    for path in [&event, &room, &user] {
        server.post(path, &bob.token, body.clone()).await.ok();
    }
    for path in [&event, &room, &user] {
        assert_eq!(server.post(path, &bob.token, body.clone()).await.refusal(), (429, "M_LIMIT_EXCEEDED"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_a_number_of_reports_each_day() {
    const START_MS: u64 = 1_700_000_000_000;
    for place in places() {
        let mut server = TestServer::on(place).clock(Clock::manual(START_MS)).start().await;
        let (bob, Paths { room, .. }) = reported(&server).await;
        let reporter = bob.id.clone();
        let database = server.open_database().await;
        let stored = database.write(move |tx| {
            let (room_nid, event_nid, reason, score) = (None, None, None, None);
            let (reporter, user_id) = (reporter.as_str(), Some("@a:test.example"));
            let report = Report { received_ts: START_MS, reporter, room_nid, event_nid, user_id, reason, score };
            for _ in 0..1_000 {
                reports::insert(tx, &report)?;
            }
            Ok::<_, BoundError>(())
        });
        stored.await.expect("the reports are stored");
        database.close().await;
        server.restart().await;
        let body = json!({ "reason": "rude" });
        assert_eq!(server.post(&room, &bob.token, body.clone()).await.refusal(), (429, "M_LIMIT_EXCEEDED"));
        server.clock().advance(Duration::from_secs(86_401));
        server.post(&room, &bob.token, body).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_tell_nothing_where_that_is_enabled() {
    for server in on_each_with("experimental_features: {msc4277_enabled: true}").await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        let event = say(&server, &alice, &room, "rude").await;
        for path in [
            room_path(&room, &format!("report/{event}")),
            room_path(&room, "report/$none"),
            room_path("!none:test.example", "report"),
        ] {
            server.post(&path, &bob.token, json!({ "reason": "rude" })).await.ok();
        }
    }
}
