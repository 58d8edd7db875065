//! `GET /thread_subscriptions`, and the extension of sliding sync about the same changes.

use std::time::Duration;

use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::within;
use serde_json::{Value, json};

use super::{ENABLED, subscription};
use crate::client::{on_each_with, say, two_in_a_room};

const PATH: &str = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions";
const SLIDING: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
const EXTENSION: &str = "io.element.msc4308.thread_subscriptions";
/// How long a request may take that a change wakes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three threads, the first of which bob has subscribed to and left again; he has subscribed to the others.
async fn three_threads(server: &TestServer) -> (TestUser, TestUser, String, [String; 3]) {
    let (alice, bob, room) = two_in_a_room(server).await;
    let mut roots = Vec::new();
    for text in ["one", "two", "three"] {
        let root = say(server, &alice, &room, text).await;
        server.put(&subscription(&room, &root), &bob.token, json!({})).await.ok();
        roots.push(root);
    }
    server.delete(&subscription(&room, &roots[0]), &bob.token).await.ok();
    (alice, bob, room, roots.try_into().expect("three"))
}

fn threads<'a>(changes: &'a Value, section: &str, room: &str) -> Vec<&'a str> {
    changes[section][room].as_object().into_iter().flatten().map(|(root, _)| root.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_in_pages_newest_first() {
    for server in on_each_with(ENABLED).await {
        let (alice, bob, room, [one, two, three]) = three_threads(&server).await;
        let page = server.get(&format!("{PATH}?dir=b&limit=2"), &bob.token).await;
        assert_eq!(threads(page.ok(), "unsubscribed", &room), [&one]);
        assert_eq!(threads(&page.body, "subscribed", &room), [&three]);
        let shown = &page.body["subscribed"][&room][&three];
        assert_eq!((&shown["automatic"], shown["bump_stamp"].is_u64()), (&json!(false), true));
        assert_eq!(page.body["unsubscribed"][&room][&one]["automatic"], Value::Null);
        let end = page.body["end"].as_str().expect("a token").to_owned();
        let last = server.get(&format!("{PATH}?dir=b&limit=2&from={end}"), &bob.token).await;
        assert_eq!(threads(last.ok(), "subscribed", &room), [&two]);
        assert_eq!((&last.body["unsubscribed"], &last.body["end"]), (&Value::Null, &Value::Null));
        let newer = server.get(&format!("{PATH}?dir=b&to={end}"), &bob.token).await;
        assert_eq!(threads(newer.ok(), "subscribed", &room), [&three]);
        assert_eq!(server.get(&format!("{PATH}?dir=b"), &alice.token).await.ok(), &json!({}));
        for (parameters, refusal) in [
            ("", (400, "M_MISSING_PARAM")),
            ("dir=f", (400, "M_INVALID_PARAM")),
            ("dir=b&limit=0", (400, "M_INVALID_PARAM")),
            ("dir=b&limit=-1", (400, "M_INVALID_PARAM")),
            ("dir=b&from=nonsense", (400, "M_INVALID_PARAM")),
            ("dir=b&to=nonsense", (400, "M_INVALID_PARAM")),
        ] {
            assert_eq!(
                server.get(&format!("{PATH}?{parameters}"), &bob.token).await.refusal(),
                refusal,
                "{parameters}"
            );
        }
    }
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    assert_eq!(server.get(&format!("{PATH}?dir=b"), &alice.token).await.refusal(), (404, "M_UNRECOGNIZED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sliding_sync_sends_changes() {
    for server in on_each_with(ENABLED).await {
        let (_, bob, room, [one, two, three]) = three_threads(&server).await;
        let body = |limit: u64| json!({ "extensions": { EXTENSION: { "enabled": true, "limit": limit } } });
        let first = server.post(&format!("{SLIDING}?timeout=0"), &bob.token, body(2)).await;
        let changes = &first.ok()["extensions"][EXTENSION];
        assert_eq!(threads(changes, "unsubscribed", &room), [&one]);
        assert_eq!(threads(changes, "subscribed", &room), [&three]);
        let before = changes["prev_batch"].as_str().expect("there are more");
        let earlier = server.get(&format!("{PATH}?dir=b&from={before}"), &bob.token).await;
        assert_eq!(threads(earlier.ok(), "subscribed", &room), [&two]);

        // Nothing is sent twice, and a change wakes a request that waits.
        let pos = first.body["pos"].as_str().expect("a position").to_owned();
        let idle = server.post(&format!("{SLIDING}?timeout=0&pos={pos}"), &bob.token, body(100)).await;
        assert_eq!(idle.ok()["extensions"][EXTENSION], Value::Null);
        let pos = idle.body["pos"].as_str().expect("a position").to_owned();
        let path = format!("{SLIDING}?timeout=600000&pos={pos}");
        let waiting = server.post(&path, &bob.token, body(100));
        let unsubscribing = async { server.delete(&subscription(&room, &two), &bob.token).await.ok().clone() };
        let (woken, _) = tokio::join!(within(PATIENCE, waiting), unsubscribing);
        let woken = woken.expect("it is woken");
        let changes = &woken.ok()["extensions"][EXTENSION];
        assert_eq!((threads(changes, "unsubscribed", &room), &changes["prev_batch"]), (vec![&*two], &Value::Null));
        let earlier = server.get(&format!("{PATH}?dir=b&to={pos}"), &bob.token).await;
        assert_eq!(threads(earlier.ok(), "unsubscribed", &room), [&two], "a position is a token");
    }
}
