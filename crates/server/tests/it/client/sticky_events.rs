//! Sticky events (MSC4354).

use std::time::Duration;

use http::Method;
use plexus_base::Clock;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{TestPlace, places};
use serde_json::{Value, json};

use crate::client::{CLIENT, create, join, public_room, room_path, say, with_password};

const ENABLED: &str = "
experimental_features: {msc4354_enabled: true}
max_event_delay_duration: 1h
";
const PARAMETER: &str = "org.matrix.msc4354.sticky_duration_ms";
const SLIDING: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0";
/// `{"room":{"timeline":{"limit":1}}}`
const ONE_EVENT: &str = "filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A1%7D%7D%7D";
const MINUTE_MS: u64 = 60_000;

async fn servers() -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        servers.push(TestServer::on(place).clock(Clock::manual(1_700_000_000_000)).config(ENABLED).start().await);
    }
    servers
}

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

async fn send_for(server: &TestServer, user: &TestUser, room: &str, body: &str, duration: &str) -> Answer {
    let path = room_path(room, &format!("send/m.room.message/{body}?{PARAMETER}={duration}"));
    server.put(&path, &user.token, text(body)).await
}

/// Sends an event that is sticky for a minute; returns its id.
async fn stick(server: &TestServer, user: &TestUser, room: &str, body: &str) -> String {
    let sent = send_for(server, user, room, body, &MINUTE_MS.to_string()).await;
    sent.ok()["event_id"].as_str().unwrap().to_owned()
}

/// A sync with at most one event of each timeline.
async fn sync(server: &TestServer, user: &TestUser, since: Option<&str>) -> Value {
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    server.get(&format!("{CLIENT}/sync?{ONE_EVENT}{since}"), &user.token).await.ok().clone()
}

fn next(response: &Value) -> Option<&str> {
    Some(response["next_batch"].as_str().expect("a token"))
}

fn bodies(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// The bodies of a room's sticky events in a sync.
fn sticky<'r>(response: &'r Value, room: &str) -> Vec<&'r str> {
    bodies(&response["rooms"]["join"][room]["msc4354_sticky"]["events"])
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_beside_the_timeline_until_they_expire() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        join(&server, &bob, &room).await;
        let before = sync(&server, &bob, None).await;
        stick(&server, &alice, &room, "in-call").await;
        // In the timeline it is not repeated.
        let live = sync(&server, &bob, next(&before)).await;
        let event = &live["rooms"]["join"][&room]["timeline"]["events"][0];
        assert_eq!(event["msc4354_sticky"], json!({ "duration_ms": MINUTE_MS }));
        assert_eq!(event["unsigned"]["msc4354_sticky_duration_ttl_ms"], MINUTE_MS);
        assert!(sticky(&live, &room).is_empty());

        say(&server, &alice, &room, "1").await;
        say(&server, &alice, &room, "2").await;
        server.clock().advance(Duration::from_secs(20));
        for since in [None, next(&before)] {
            let gappy = sync(&server, &bob, since).await;
            let joined = &gappy["rooms"]["join"][&room];
            assert_eq!(bodies(&joined["timeline"]["events"]), ["2"]);
            assert_eq!(sticky(&gappy, &room), ["in-call"]);
            let event = &joined["msc4354_sticky"]["events"][0];
            assert_eq!(event["unsigned"]["msc4354_sticky_duration_ttl_ms"], MINUTE_MS - 20_000);
            assert!(sticky(&sync(&server, &bob, next(&gappy)).await, &room).is_empty());
        }
        server.clock().advance(Duration::from_secs(40));
        let late = sync(&server, &bob, None).await;
        assert!(sticky(&late, &room).is_empty());
        let path = room_path(&room, "messages?dir=b&limit=3");
        let history = server.get(&path, &bob.token).await.ok().clone();
        assert_eq!(history["chunk"][2]["content"]["body"], "in-call");
        assert!(history["chunk"][2]["unsigned"]["msc4354_sticky_duration_ttl_ms"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_gets_what_is_sticky_whatever_the_history_visibility() {
    for mut server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let visibility = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } });
        let room = create(&server, &alice, json!({ "preset": "public_chat", "initial_state": [visibility] })).await;
        let event = stick(&server, &alice, &room, "in-call").await;
        say(&server, &alice, &room, "secret").await;
        server.restart().await;
        let before = sync(&server, &bob, None).await;
        join(&server, &bob, &room).await;
        let joined = sync(&server, &bob, next(&before)).await;
        assert_eq!(sticky(&joined, &room), ["in-call"]);
        assert!(sticky(&sync(&server, &bob, next(&joined)).await, &room).is_empty());
        // A new name is not a new join.
        let name = json!({ "displayname": "Bob" });
        server.put(&format!("{CLIENT}/profile/{}/displayname", bob.id), &bob.token, name).await.ok();
        let renamed = sync(&server, &bob, next(&joined)).await;
        assert!(renamed["rooms"]["join"][&room].is_object() && sticky(&renamed, &room).is_empty());
        // Elsewhere it is shown as long as it is sticky, and no other message is.
        let path = room_path(&room, "messages?dir=b");
        let history = server.get(&path, &bob.token).await.ok().clone();
        assert_eq!(bodies(&history["chunk"]), ["in-call"]);
        let event = room_path(&room, &format!("event/{event}"));
        server.get(&event, &bob.token).await.ok();
        server.clock().advance(Duration::from_millis(MINUTE_MS));
        assert_eq!(server.get(&event, &bob.token).await.refusal().0, 404);
        assert!(bodies(&server.get(&path, &bob.token).await.ok()["chunk"]).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_events_come_in_several_responses() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        join(&server, &bob, &room).await;
        let sent: Vec<String> = (0..130).map(|number| format!("n{number}")).collect();
        for body in &sent {
            stick(&server, &alice, &room, body).await;
        }
        say(&server, &alice, &room, "newest").await;
        let first = sync(&server, &bob, None).await;
        // The next is answered at once, and the third has nothing left.
        let second = sync(&server, &bob, next(&first)).await;
        assert_eq!([sticky(&first, &room), sticky(&second, &room)].concat(), sent);
        assert_eq!(sticky(&first, &room).len(), 100);
        let third = sync(&server, &bob, next(&second)).await;
        assert!(sticky(&third, &room).is_empty() && next(&third).unwrap().matches('_').count() == 1, "{third}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redacted_events_and_those_of_ignored_users_do_not_come() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let room = public_room(&server, &alice).await;
        join(&server, &bob, &room).await;
        join(&server, &carol, &room).await;
        let redacted = stick(&server, &alice, &room, "redacted").await;
        stick(&server, &carol, &room, "ignored").await;
        stick(&server, &alice, &room, "kept").await;
        server.put(&room_path(&room, &format!("redact/{redacted}/1")), &alice.token, json!({})).await.ok();
        let ignored = json!({ "ignored_users": { &carol.id: {} } });
        let path = format!("{CLIENT}/user/{}/account_data/m.ignored_user_list", bob.id);
        server.put(&path, &bob.token, ignored).await.ok();
        assert_eq!(sticky(&sync(&server, &bob, None).await, &room), ["kept"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_events_are_sticky_from_when_they_are_sent() {
    for server in servers().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let own = room_path(&room, &format!("delayed_event/m.room.message/1?{PARAMETER}={MINUTE_MS}"));
        let own = server.put(&own, &alice.token, json!({ "delay_ms": 1_000_000, "content": text("own") })).await;
        let query = format!("send/m.room.message/2?{PARAMETER}={MINUTE_MS}&org.matrix.msc4140.delay=1000000");
        let query = server.put(&room_path(&room, &query), &alice.token, text("query")).await;
        server.clock().advance(Duration::from_secs(100));
        for delayed in [own, query] {
            let id = delayed.ok()["delay_id"].as_str().unwrap().to_owned();
            let path = format!("/_matrix/client/v1/delayed_events/{id}/send");
            server.post(&path, &alice.token, json!({})).await.ok();
        }
        say(&server, &alice, &room, "newest").await;
        assert_eq!(sticky(&sync(&server, &alice, None).await, &room), ["own", "query"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sliding_sync_sends_them_to_rooms_of_lists() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (room, other) = (public_room(&server, &alice).await, public_room(&server, &alice).await);
        join(&server, &bob, &room).await;
        join(&server, &bob, &other).await;
        for body in ["1", "2", "3"] {
            stick(&server, &alice, &room, body).await;
        }
        say(&server, &alice, &room, "newest").await;
        say(&server, &alice, &other, "newest").await;
        let ask = async |pos: Option<&str>, since: Option<&str>| {
            let mut extension = json!({ "enabled": true, "limit": 2 });
            extension["since"] = json!(since);
            // The window holds only the other room.
            let body = json!({
                "lists": { "all": { "ranges": [[0, 0]], "timeline_limit": 1, "required_state": [] } },
                "extensions": { "org.matrix.msc4354.sticky_events": extension },
            });
            let pos = pos.map(|pos| format!("&pos={pos}")).unwrap_or_default();
            let answer = server.post(&format!("{SLIDING}{pos}"), &bob.token, body).await;
            let response = answer.ok().clone();
            let extension = response["extensions"]["org.matrix.msc4354.sticky_events"].clone();
            (response["pos"].as_str().unwrap().to_owned(), extension)
        };
        let (pos, first) = ask(None, None).await;
        assert_eq!(bodies(&first["rooms"][&room]["events"]), ["1", "2"]);
        let (pos, second) = ask(Some(&pos), first["next_batch"].as_str()).await;
        assert_eq!(bodies(&second["rooms"][&room]["events"]), ["3"]);
        let (pos, third) = ask(Some(&pos), second["next_batch"].as_str()).await;
        assert!(third.is_null(), "{third}");
        // What is in a timeline of the response is not repeated.
        stick(&server, &alice, &other, "4").await;
        let (pos, fourth) = ask(Some(&pos), second["next_batch"].as_str()).await;
        assert!(fourth["rooms"][&other].is_null(), "{fourth}");
        let malformed =
            json!({ "extensions": { "org.matrix.msc4354.sticky_events": { "enabled": true, "since": "x" } } });
        let answer = server.post(&format!("{SLIDING}&pos={pos}"), &bob.token, malformed).await;
        assert_eq!(answer.refusal(), (400, "M_INVALID_PARAM"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn durations_are_bounded() {
    for server in servers().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        for wrong in ["-1", "3600001", "99999999999999999999", "x", ""] {
            let answer = send_for(&server, &alice, &room, "wrong", wrong).await;
            assert_eq!(answer.refusal().0, 400, "{wrong}");
        }
        for right in ["0", "3600000"] {
            send_for(&server, &alice, &room, &format!("for{right}"), right).await.ok();
        }
        say(&server, &alice, &room, "newest").await;
        assert_eq!(sticky(&sync(&server, &alice, None).await, &room), ["for3600000"]);
        let versions = server.request(Method::GET, "/_matrix/client/versions", None, None).await;
        assert_eq!(versions.ok()["unstable_features"]["org.matrix.msc4354"], true);
    }
}

#[tokio::test]
async fn without_the_option_events_are_ordinary() {
    let server = TestServer::on(TestPlace::sqlite()).start().await;
    let alice = server.register("alice").await;
    let room = public_room(&server, &alice).await;
    let event = stick(&server, &alice, &room, "ordinary").await;
    let event = server.get(&room_path(&room, &format!("event/{event}")), &alice.token).await.ok().clone();
    assert!(event["msc4354_sticky"].is_null());
    let versions = server.request(Method::GET, "/_matrix/client/versions", None, None).await;
    assert_eq!(versions.ok()["unstable_features"]["org.matrix.msc4354"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_not_shown_do_not_hold_up_others() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (spam, call) = (public_room(&server, &alice).await, public_room(&server, &alice).await);
        let carol = server.register("carol").await;
        for room in [&spam, &call] {
            join(&server, &bob, room).await;
            join(&server, &carol, room).await;
        }
        for number in 0..110 {
            stick(&server, &alice, &spam, &format!("s{number}")).await;
            stick(&server, &carol, &call, &format!("c{number}")).await;
        }
        stick(&server, &alice, &call, "in-call").await;
        say(&server, &alice, &call, "newest").await;
        let path = format!("{CLIENT}/user/{}/account_data/m.ignored_user_list", bob.id);
        server.put(&path, &bob.token, json!({ "ignored_users": { &carol.id: {} } })).await.ok();
        // Those of the room that the filter leaves out do not count; those of the ignored user fill a response.
        let filter = json!({ "room": { "not_rooms": [&spam], "timeline": { "limit": 1 } } });
        let filters = format!("{CLIENT}/user/{}/filter", bob.id);
        let filter = server.post(&filters, &bob.token, filter).await.ok()["filter_id"].as_str().unwrap().to_owned();
        let mut since = String::new();
        let mut found = Vec::new();
        for _ in 0..2 {
            let path = format!("{CLIENT}/sync?filter={filter}&timeout=0{since}");
            let response = server.get(&path, &bob.token).await.ok().clone();
            found.extend(sticky(&response, &call).into_iter().map(str::to_owned));
            since = format!("&since={}", next(&response).unwrap());
        }
        assert_eq!(found, ["in-call"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_a_sliding_sync_comes_to_ask_for_brings_its_older_sticky_events() {
    for mut server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let mut rooms = Vec::new();
        for _ in 0..3 {
            let room = public_room(&server, &alice).await;
            join(&server, &bob, &room).await;
            stick(&server, &alice, &room, "sticky").await;
            say(&server, &alice, &room, "newest").await;
            rooms.push(room);
        }
        // Asks for the first `wanted` rooms; returns the position, the token and how many have sticky events.
        let ask = async |server: &TestServer, from: &Option<(String, String)>, wanted: usize| {
            let config = json!({ "timeline_limit": 1, "required_state": [] });
            let subscribed = rooms[..wanted].iter().map(|room| (room.clone(), config.clone()));
            let since = from.as_ref().map(|(_, since)| since);
            let body = json!({
                "room_subscriptions": subscribed.collect::<serde_json::Map<String, Value>>(),
                "extensions":
                    { "org.matrix.msc4354.sticky_events": { "enabled": true, "limit": 1, "since": since } },
            });
            let pos = from.as_ref().map(|(pos, _)| format!("&pos={pos}")).unwrap_or_default();
            let answer = server.post(&format!("{SLIDING}{pos}"), &bob.token, body).await;
            let (response, sticky) = (answer.ok(), &answer.body["extensions"]["org.matrix.msc4354.sticky_events"]);
            let next = sticky["next_batch"].as_str().map(str::to_owned);
            let next = next.or(from.as_ref().map(|(_, since)| since.clone())).unwrap();
            let count = sticky["rooms"].as_object().map_or(0, serde_json::Map::len);
            (Some((response["pos"].as_str().unwrap().to_owned(), next)), count)
        };
        let (first, count) = ask(&server, &None, 1).await;
        assert_eq!(count, 1);
        let (same, count) = ask(&server, &first, 1).await;
        assert_eq!(count, 0);
        server.restart().await;
        // One room at a time, whole.
        let (second, count) = ask(&server, &same, 3).await;
        assert_eq!(count, 1);
        let (third, count) = ask(&server, &second, 3).await;
        assert_eq!(count, 1);
        let (fourth, count) = ask(&server, &third, 3).await;
        assert_eq!(count, 0);
        // A room that was left out for a while.
        let (fifth, _) = ask(&server, &fourth, 2).await;
        stick(&server, &alice, &rooms[2], "meanwhile").await;
        let (sixth, count) = ask(&server, &fifth, 2).await;
        assert_eq!(count, 0);
        assert_eq!(ask(&server, &sixth, 3).await.1, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_events_can_be_sticky() {
    for server in servers().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        for key in ["", "/key"] {
            let path = room_path(&room, &format!("state/com.example.call{key}?{PARAMETER}={MINUTE_MS}"));
            let sent = server.put(&path, &alice.token, json!({})).await;
            let event = room_path(&room, &format!("event/{}", sent.ok()["event_id"].as_str().unwrap()));
            let event = server.get(&event, &alice.token).await.ok().clone();
            assert_eq!(event["msc4354_sticky"], json!({ "duration_ms": MINUTE_MS }));
        }
        let wrong = room_path(&room, &format!("state/com.example.call/key?{PARAMETER}=x"));
        assert_eq!(server.put(&wrong, &alice.token, json!({ "new": true })).await.refusal().0, 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_erased_users_are_not_shown_to_who_joins_later() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let room = public_room(&server, &alice).await;
        join(&server, &bob, &room).await;
        let event = stick(&server, &bob, &room, "secret").await;
        stick(&server, &alice, &room, "in-call").await;
        let body = with_password(&bob, &json!(null), json!({ "erase": true }));
        server.post(&format!("{CLIENT}/account/deactivate"), &bob.token, body).await.ok();
        join(&server, &carol, &room).await;
        say(&server, &alice, &room, "newest").await;
        assert_eq!(sticky(&sync(&server, &carol, None).await, &room), ["in-call"]);
        let event = server.get(&room_path(&room, &format!("event/{event}")), &carol.token).await;
        assert!(!event.body.to_string().contains("secret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_goes_on_from_initial_sync_brings_them() {
    for server in servers().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        stick(&server, &alice, &room, "in-call").await;
        say(&server, &alice, &room, "newest").await;
        let initial = server.get(&format!("{CLIENT}/initialSync?limit=1"), &alice.token).await.ok().clone();
        let end = initial["end"].as_str().expect("a token");
        assert_eq!(sticky(&sync(&server, &alice, Some(end)).await, &room), ["in-call"]);
    }
}
