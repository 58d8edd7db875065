//! Subscriptions to threads: `PUT`, `GET` and `DELETE .../rooms/{room_id}/thread/{root}/subscription`.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use super::{ENABLED, reply, subscription};
use crate::client::{create, on_each_with, say, sync, two_in_a_room};

const NOT_IN_THREAD: (u16, &str) = (400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD");
const CONFLICT: (u16, &str) = (409, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION");

#[tokio::test(flavor = "multi_thread")]
async fn users_subscribe_and_clients_do_so_for_them() {
    for server in on_each_with(ENABLED).await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let root = say(&server, &alice, &room, "root").await;
        let path = subscription(&room, &root);
        let [first, other] = [reply(&server, &alice, &room, &root, json!({})).await, root.clone()];
        assert_eq!(server.get(&path, &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
        server.delete(&path, &bob.token).await.ok();

        let automatic = |cause: &str| json!({ "automatic": cause });
        assert_eq!(server.put(&path, &bob.token, automatic(&other)).await.refusal(), NOT_IN_THREAD);
        server.put(&path, &bob.token, automatic(&first)).await.ok();
        assert_eq!(server.get(&path, &bob.token).await.ok(), &json!({ "automatic": true }));
        server.put(&path, &bob.token, json!({})).await.ok();
        assert_eq!(server.get(&path, &bob.token).await.ok(), &json!({ "automatic": false }));
        // What the user has decided stays.
        server.put(&path, &bob.token, automatic(&first)).await.ok();
        assert_eq!(server.get(&path, &bob.token).await.ok(), &json!({ "automatic": false }));
        assert_eq!(server.get(&path, &alice.token).await.refusal(), (404, "M_NOT_FOUND"), "it is bob's alone");

        server.delete(&path, &bob.token).await.ok();
        assert_eq!(server.get(&path, &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(server.put(&path, &bob.token, automatic(&first)).await.refusal(), CONFLICT);
        let later = reply(&server, &alice, &room, &root, json!({})).await;
        server.put(&path, &bob.token, automatic(&later)).await.ok();
        assert_eq!(server.get(&path, &bob.token).await.ok(), &json!({ "automatic": true }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests() {
    for server in on_each_with(ENABLED).await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let root = say(&server, &alice, &room, "root").await;
        let private = create(&server, &alice, json!({})).await;
        let hidden = say(&server, &alice, &private, "hidden").await;
        for (path, body, refusal) in [
            (subscription(&room, "$unknown"), json!({}), (404, "M_NOT_FOUND")),
            (subscription(&private, &hidden), json!({}), (404, "M_NOT_FOUND")),
            (subscription(&room, &hidden), json!({}), (404, "M_NOT_FOUND")),
            (subscription("!unknown:test.example", &root), json!({}), (404, "M_NOT_FOUND")),
            (subscription(&room, "root"), json!({}), (400, "M_INVALID_PARAM")),
            (subscription(&room, &root), json!({ "automatic": "$unknown" }), (404, "M_NOT_FOUND")),
            (subscription(&room, &root), json!({ "automatic": hidden }), (404, "M_NOT_FOUND")),
            (subscription(&room, &root), json!({ "automatic": true }), (400, "M_BAD_JSON")),
            (subscription(&room, &root), json!([]), (400, "M_BAD_JSON")),
        ] {
            assert_eq!(server.put(&path, &bob.token, body.clone()).await.refusal(), refusal, "{path} {body}");
        }
        assert_eq!(server.get(&subscription(&private, &hidden), &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
    }
    // It is off by default.
    let server = TestServer::sqlite().await;
    let (alice, _, room) = two_in_a_room(&server).await;
    let root = say(&server, &alice, &room, "root").await;
    let path = subscription(&room, &root);
    assert_eq!(server.put(&path, &alice.token, json!({})).await.refusal(), (404, "M_UNRECOGNIZED"));
    let rules = server.get("/_matrix/client/v3/pushrules/", &alice.token).await;
    assert_eq!(rules.ok()["global"]["postcontent"], Value::Null);
}

/// The notifications and highlights of a room.
async fn unread(server: &TestServer, user: &TestUser, room: &str) -> (u64, u64) {
    let counts = sync(server, user, None, "").await["rooms"]["join"][room]["unread_notifications"].clone();
    (counts["notification_count"].as_u64().unwrap_or(0), counts["highlight_count"].as_u64().unwrap_or(0))
}

/// How many events notified a user.
async fn notifications(server: &TestServer, user: &TestUser) -> usize {
    let shown = server.get("/_matrix/client/v3/notifications", &user.token).await;
    shown.ok()["notifications"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_remains_when_the_user_confirms_it() {
    for mut server in on_each_with(ENABLED).await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let root = say(&server, &bob, &room, "root").await;
        let cause = reply(&server, &alice, &room, &root, json!({})).await;
        server.put(&subscription(&room, &root), &bob.token, json!({ "automatic": cause })).await.ok();
        reply(&server, &alice, &room, &root, json!({})).await;
        server.put(&subscription(&room, &root), &bob.token, json!({})).await.ok();
        for restarts in [false, true] {
            if restarts {
                server.restart().await;
            }
            assert_eq!(notifications(&server, &bob).await, 1, "{restarts}");
            assert_eq!(unread(&server, &bob, &room).await, (1, 0), "{restarts}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_threads_with_a_subscription_notify() {
    for mut server in on_each_with(ENABLED).await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let root = say(&server, &alice, &room, "root").await;
        assert_eq!(unread(&server, &bob, &room).await, (1, 0));
        reply(&server, &alice, &room, &root, json!({})).await;
        assert_eq!(unread(&server, &bob, &room).await, (1, 0));
        let mentions = json!({ "m.mentions": { "user_ids": [bob.id] } });
        reply(&server, &alice, &room, &root, mentions).await;
        assert_eq!(unread(&server, &bob, &room).await, (2, 1), "mentions notify in any thread");
        server.put(&subscription(&room, &root), &bob.token, json!({})).await.ok();
        reply(&server, &alice, &room, &root, json!({})).await;
        assert_eq!(unread(&server, &bob, &room).await, (3, 1));
        assert_eq!(notifications(&server, &bob).await, 3);
        server.delete(&subscription(&room, &root), &bob.token).await.ok();
        reply(&server, &alice, &room, &root, json!({})).await;
        // Evaluated again, what came during the subscription notifies as it did.
        for restarts in [false, true] {
            if restarts {
                server.restart().await;
            }
            assert_eq!(unread(&server, &bob, &room).await, (3, 1), "{restarts}");
            assert_eq!(notifications(&server, &bob).await, 3, "{restarts}");
        }

        // The rules can be changed like others.
        let rules = server.get("/_matrix/client/v3/pushrules/", &bob.token).await;
        let ids: Vec<_> =
            rules.ok()["global"]["postcontent"].as_array().into_iter().flatten().map(|rule| &rule["rule_id"]).collect();
        let unsubscribed = ".io.element.msc4306.rule.unsubscribed_thread";
        assert_eq!(ids, [unsubscribed, ".io.element.msc4306.rule.subscribed_thread"]);
        let rule = format!("/_matrix/client/v3/pushrules/global/postcontent/{unsubscribed}/enabled");
        server.put(&rule, &bob.token, json!({ "enabled": false })).await.ok();
        reply(&server, &alice, &room, &root, json!({})).await;
        assert_eq!(unread(&server, &bob, &room).await, (4, 1));
        let versions = server.get("/_matrix/client/versions", &bob.token).await;
        assert_eq!(versions.ok()["unstable_features"]["org.matrix.msc4306"], true);
    }
}
