//! Messages that carry their own expiry (MSC2228).

use std::time::Duration;

use plexus_base::Clock;
use plexus_store::repo::search_documents;
use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{BigRoom, every, places, within};
use serde_json::{Value, json};

use crate::client::{CLIENT, public_room, room_path, say};

const START_MS: u64 = 1_700_000_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

async fn servers(config: &str) -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        servers.push(TestServer::on(place).clock(Clock::manual(START_MS)).config(config).start().await);
    }
    servers
}

async fn send(server: &TestServer, user: &TestUser, room: &str, after: Value) -> String {
    let content = json!({ "msgtype": "m.text", "body": "secret", "org.matrix.self_destruct_after": after });
    let path = room_path(room, &format!("send/m.room.message/{}", plexus_testkit::unique_name()));
    server.put(&path, &user.token, content).await.ok()["event_id"].as_str().expect("an event id").to_owned()
}

async fn event(server: &TestServer, user: &TestUser, room: &str, event: &str) -> Value {
    server.get(&room_path(room, &format!("event/{event}")), &user.token).await.ok().clone()
}

async fn expires(server: &TestServer, user: &TestUser, room: &str, id: &str) {
    let mut ticks = every(Duration::from_millis(5));
    let wait = async {
        while event(server, user, room, id).await["content"] != json!({}) {
            ticks.tick().await;
        }
    };
    within(PATIENCE, wait).await.expect("the message expires");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_expire_in_memory_and_in_the_database() {
    for mut server in servers("enable_ephemeral_messages: true").await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let soon = send(&server, &alice, &room, json!(START_MS + 10_000)).await;
        let later = send(&server, &alice, &room, json!(START_MS + 20_000)).await;
        let past = send(&server, &alice, &room, json!(START_MS - 1)).await;
        let never = send(&server, &alice, &room, json!("soon")).await;
        say(&server, &alice, &room, "newest").await;
        expires(&server, &alice, &room, &past).await;
        server.clock().advance(Duration::from_secs(10));
        expires(&server, &alice, &room, &soon).await;
        // Another event can be sent, and nothing of the expired one is left.
        say(&server, &alice, &room, "after").await;
        for restarted in [false, true] {
            if restarted {
                server.restart().await;
            }
            for path in [format!("{CLIENT}/sync"), room_path(&room, "messages?dir=b")] {
                let shown = server.get(&path, &alice.token).await.ok().to_string();
                assert_eq!(shown.matches("secret").count(), 2, "{shown}");
            }
            assert_eq!(event(&server, &alice, &room, &later).await["content"]["body"], "secret");
        }
        server.clock().advance(Duration::from_secs(10));
        expires(&server, &alice, &room, &later).await;
        assert_eq!(event(&server, &alice, &room, &never).await["content"]["body"], "secret");
    }
}

/// The number of messages that a search for a word finds.
async fn found(server: &TestServer, user: &TestUser, word: &str) -> Value {
    let body = json!({ "search_categories": { "room_events": { "search_term": word } } });
    let results = server.post(&format!("{CLIENT}/search"), &user.token, body).await;
    results.ok()["search_categories"]["room_events"]["count"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_do_not_find_what_has_expired_and_its_words_leave_the_index() {
    for place in places() {
        let config = "enable_ephemeral_messages: true";
        let mut server = TestServer::on(place).clock(Clock::manual(START_MS)).config(config).start().await;
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let soon = send(&server, &alice, &room, json!(START_MS + 10_000)).await;
        assert_eq!(found(&server, &alice, "secret").await, 1);
        server.clock().advance(Duration::from_secs(10));
        expires(&server, &alice, &room, &soon).await;
        assert_eq!(found(&server, &alice, "secret").await, 0);
        let database = server.open_database().await;
        assert!(!database.read(search_documents::has_any).await.unwrap());
        database.close().await;
    }
}

/// The number of unread messages of a room.
async fn unread(server: &TestServer, user: &TestUser, room: &str) -> Value {
    let sync = server.get(&format!("{CLIENT}/sync"), &user.token).await.ok().clone();
    sync["rooms"]["join"][room]["unread_notifications"]["notification_count"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_not_unread() {
    for server in servers("enable_ephemeral_messages: true").await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        server.post(&room_path(&room, "join"), &bob.token, json!({})).await.ok();
        let soon = send(&server, &alice, &room, json!(START_MS + 10_000)).await;
        say(&server, &alice, &room, "newest").await;
        assert_eq!(unread(&server, &bob, &room).await, 2);
        server.clock().advance(Duration::from_secs(10));
        expires(&server, &alice, &room, &soon).await;
        assert_eq!(unread(&server, &bob, &room).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_redaction_does_not_expire() {
    for server in servers("enable_ephemeral_messages: true").await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let target = say(&server, &alice, &room, "target").await;
        let content = json!({ "reason": "why", "org.matrix.self_destruct_after": START_MS - 1 });
        server.put(&room_path(&room, &format!("redact/{target}/1")), &alice.token, content).await.ok();
        let past = send(&server, &alice, &room, json!(START_MS - 1)).await;
        expires(&server, &alice, &room, &past).await;
        let shown = event(&server, &alice, &room, &target).await;
        assert_eq!(shown["unsigned"]["redacted_because"]["content"]["reason"], "why");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_messages_stay() {
    for server in servers("").await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let past = send(&server, &alice, &room, json!(START_MS - 1)).await;
        say(&server, &alice, &room, "newest").await;
        assert_eq!(event(&server, &alice, &room, &past).await["content"]["body"], "secret");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_come_by_backfill_expire() {
    for server in servers("enable_ephemeral_messages: true").await {
        let host = BigRoom::new(1, 0).host(&[]).await;
        let creator = host.room.creator();
        let mut ids = Vec::new();
        for after in [json!(START_MS - 1), json!("never")] {
            let content = json!({ "msgtype": "m.text", "body": "secret", "org.matrix.self_destruct_after": after });
            ids.push(host.room.send(&creator, "m.room.message", None, content).event_id().to_string());
        }
        host.room.send(&creator, "m.room.message", None, json!({ "msgtype": "m.text", "body": "newest" }));
        let alice = server.register("alice").await;
        let join = format!("{CLIENT}/join/{}?via={}", host.room.id(), host.peer.name());
        server.post(&join, &alice.token, json!({})).await.ok();
        let room = host.room.id().as_str();
        server.get(&room_path(room, "messages?dir=b&limit=50"), &alice.token).await.ok();
        expires(&server, &alice, room, &ids[0]).await;
        assert_eq!(event(&server, &alice, room, &ids[1]).await["content"]["body"], "secret");
    }
}
