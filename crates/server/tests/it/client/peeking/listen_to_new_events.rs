//! `GET /events`, and previews of rooms that rest on it.

use std::time::Duration;

use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::within;
use serde_json::{Value, json};

use crate::client::{CLIENT, bodies, create, join, public_room, room_path, say, two_in_a_room};

/// How long a request may take that an event wakes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn events(server: &TestServer, user: &TestUser, parameters: &str) -> Value {
    server.get(&format!("{CLIENT}/events?{parameters}"), &user.token).await.ok().clone()
}

fn end(page: &Value) -> &str {
    page["end"].as_str().expect("a token")
}

async fn world_readable_room(server: &TestServer, user: &TestUser) -> String {
    let visibility =
        json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } });
    create(server, user, json!({ "preset": "public_chat", "initial_state": [visibility] })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_of_a_room_is_live() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = world_readable_room(&server, &alice).await;
        say(&server, &alice, &room, "before").await;
        let first = server.get(&room_path(&room, "initialSync?limit=1"), &bob.token).await;
        assert_eq!(bodies(&first.ok()["messages"]["chunk"]), ["before"]);
        let from = first.body["messages"]["end"].as_str().expect("a token").to_owned();
        let path = format!("{CLIENT}/events?room_id={room}&timeout=600000&from={from}");
        let waiting = server.get(&path, &bob.token);
        let (page, said) = tokio::join!(within(PATIENCE, waiting), say(&server, &alice, &room, "live"));
        let page = page.expect("it is woken");
        assert_eq!(page.ok()["start"], from);
        assert_eq!(page.body["chunk"][0]["event_id"], said);
        assert_eq!(page.body["chunk"][0]["room_id"], room);
        let page = events(&server, &bob, &format!("room_id={room}&timeout=0&from={}", end(&page.body))).await;
        assert_eq!(page["chunk"], json!([]));

        // Nothing of other rooms, and nothing any more once only members may read the room.
        let other = public_room(&server, &alice).await;
        say(&server, &alice, &other, "elsewhere").await;
        let page = events(&server, &bob, &format!("room_id={room}&timeout=0&from={from}")).await;
        assert_eq!(bodies(&page["chunk"]), ["live"]);
        let path = format!("{CLIENT}/events?room_id={room}&timeout=600000&from={}", end(&page));
        let waiting = server.get(&path, &bob.token);
        let visibility = room_path(&room, "state/m.room.history_visibility");
        let closing = server.put(&visibility, &alice.token, json!({ "history_visibility": "joined" }));
        let (page, closed) = tokio::join!(within(PATIENCE, waiting), closing);
        closed.ok();
        assert_eq!(page.expect("it is woken").refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(server.get(&path, &bob.token).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(server.get(&room_path(&room, "initialSync"), &bob.token).await.refusal(), (403, "M_FORBIDDEN"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_all_rooms_come_in_order() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let other = public_room(&server, &alice).await;
        let start = events(&server, &bob, "timeout=0").await;
        assert_eq!(start["chunk"], json!([]));
        say(&server, &alice, &room, "one").await;
        join(&server, &bob, &other).await;
        say(&server, &alice, &other, "two").await;
        say(&server, &alice, &room, "three").await;
        let invited = create(&server, &alice, json!({ "invite": [bob.id] })).await;
        let page = events(&server, &bob, &format!("timeout=0&from={}", end(&start))).await;
        assert_eq!(bodies(&page["chunk"]), ["one", "two", "three"]);
        let invite = page["chunk"].as_array().and_then(|chunk| chunk.last()).cloned().unwrap_or_default();
        assert_eq!((&invite["room_id"], &invite["content"]["membership"]), (&json!(invited), &json!("invite")));

        // More than one page of several rooms: each event comes once.
        let mut expected = Vec::new();
        for number in 0..150 {
            let text = number.to_string();
            say(&server, &alice, if number % 3 == 0 { &room } else { &other }, &text).await;
            expected.push(text);
        }
        let (mut found, mut from) = (Vec::new(), end(&page).to_owned());
        while found.len() < expected.len() {
            let page = events(&server, &bob, &format!("timeout=0&from={from}")).await;
            let new = bodies(&page["chunk"]).into_iter().map(str::to_owned);
            let before = found.len();
            found.extend(new);
            assert!(found.len() > before, "no progress after {before} events");
            from = end(&page).to_owned();
        }
        assert_eq!(found, expected);
        let ignored = json!({ "ignored_users": { alice.id.as_str(): {} } });
        let path = format!("{CLIENT}/user/{}/account_data/m.ignored_user_list", bob.id);
        server.put(&path, &bob.token, ignored).await.ok();
        say(&server, &alice, &room, "unheard").await;
        let page = events(&server, &bob, &format!("timeout=0&from={from}")).await;
        assert_eq!(page["chunk"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let private = create(&server, &alice, json!({})).await;
    for (parameters, refusal) in [
        ("from=nonsense".to_owned(), (400, "M_INVALID_PARAM")),
        ("timeout=soon".to_owned(), (400, "M_INVALID_PARAM")),
        ("room_id=room".to_owned(), (400, "M_INVALID_PARAM")),
        (format!("room_id={private}"), (403, "M_FORBIDDEN")),
        ("room_id=!unknown:test.example".to_owned(), (403, "M_FORBIDDEN")),
    ] {
        let answer = server.get(&format!("{CLIENT}/events?{parameters}"), &bob.token).await;
        assert_eq!(answer.refusal(), refusal, "{parameters}");
    }
}
