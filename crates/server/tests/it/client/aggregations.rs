//! Aggregations (`unsigned.m.relations`) in whatever returns timeline events
//! (<https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>).

use plexus_protocol::event::build::PduBuilder;
use plexus_protocol::id::EventId;
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::places;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{CLIENT, room_path, say, send, two_in_a_room};
use crate::federation::away::{Away, synced};

/// A room with a message that was replied to in a thread, and edited.
struct Scene {
    alice: TestUser,
    room: String,
    root: String,
}

async fn scene(server: &TestServer) -> Scene {
    let (alice, bob, room) = two_in_a_room(server).await;
    let root = say(server, &alice, &room, "root").await;
    let thread = json!({ "rel_type": "m.thread", "event_id": root });
    let reply = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": thread });
    send(server, &bob, &room, "m.room.message", reply).await.ok();
    let replace = json!({ "rel_type": "m.replace", "event_id": root });
    let edit = json!({
        "msgtype": "m.text", "body": "* new", "m.new_content": { "msgtype": "m.text", "body": "new" },
        "m.relates_to": replace,
    });
    send(server, &alice, &room, "m.room.message", edit).await.ok();
    let reference = json!({ "msgtype": "m.text", "body": "see", "m.relates_to": {
        "rel_type": "m.reference", "event_id": root,
    } });
    send(server, &bob, &room, "m.room.message", reference).await.ok();
    Scene { alice, room, root }
}

/// Finds the event with an id anywhere in a response, except within other events.
fn find<'a>(value: &'a Value, event_id: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) if members.get("event_id").is_some_and(|id| id == event_id) => Some(value),
        Value::Object(members) => {
            let within = members.iter().filter(|(key, _)| !matches!(key.as_str(), "content" | "unsigned"));
            within.map(|(_, member)| member).find_map(|member| find(member, event_id))
        }
        Value::Array(items) => items.iter().find_map(|item| find(item, event_id)),
        _ => None,
    }
}

/// All that the specification lists. It leaves out `/notifications`, and deprecated endpoints such as `/initialSync`.
#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_that_returns_events_bundles_aggregations() {
    for server in TestServer::on_each().await {
        let Scene { alice, room, root } = scene(&server).await;
        let after = say(&server, &alice, &room, "after").await;
        let before = server.get(&room_path(&room, "messages?dir=f&limit=100"), &alice.token).await;
        let events = before.ok()["chunk"].as_array().cloned().unwrap_or_default();
        let at = events.iter().position(|event| event["event_id"] == root).expect("the root");
        let before = events[at - 1]["event_id"].as_str().expect("an id");
        let v1 = format!("/_matrix/client/v1/rooms/{room}");
        let paths = [
            room_path(&room, "messages?dir=b&limit=100"),
            room_path(&room, "messages?dir=f&limit=100"),
            room_path(&room, &format!("event/{root}")),
            room_path(&room, &format!("context/{root}")),
            room_path(&room, &format!("context/{after}?limit=20")),
            room_path(&room, &format!("context/{before}?limit=20")),
            format!("{v1}/threads"),
            format!("{CLIENT}/sync?timeout=0"),
            format!("{CLIENT}/events/{root}"),
        ];
        let mut answers = Vec::new();
        for path in paths {
            let answer = server.get(&path, &alice.token).await.ok().clone();
            answers.push((path, answer));
        }
        let sliding = json!({ "lists": { "all": { "ranges": [[0, 9]], "timeline_limit": 20, "required_state": [] } } });
        let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0";
        answers.push((path.to_owned(), server.post(path, &alice.token, sliding).await.ok().clone()));
        let search = json!({ "search_categories": { "room_events": { "search_term": "new", "filter": {} } } });
        let path = format!("{CLIENT}/search");
        let found = server.post(&path, &alice.token, search).await;
        answers.push((path, found.ok().clone()));
        for (path, answer) in answers {
            let event = find(&answer, &root).unwrap_or_else(|| panic!("{path} does not return the root: {answer}"));
            let relations = &event["unsigned"]["m.relations"];
            assert_eq!(relations["m.thread"]["count"], 1, "{path}: {relations}");
            assert_eq!(relations["m.replace"]["content"]["m.new_content"]["body"], "new", "{path}: {relations}");
            assert_eq!(relations["m.reference"]["chunk"].as_array().map(Vec::len), Some(1), "{path}: {relations}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_among_relations_have_aggregations_of_their_own() {
    for server in TestServer::on_each().await {
        let Scene { alice, room, root } = scene(&server).await;
        let thread = json!({ "rel_type": "m.thread", "event_id": root });
        let reply = json!({ "msgtype": "m.text", "body": "first", "m.relates_to": thread });
        let reply = send(&server, &alice, &room, "m.room.message", reply).await;
        let reply = reply.ok()["event_id"].as_str().expect("an id").to_owned();
        let edit = json!({
            "msgtype": "m.text", "body": "* second", "m.new_content": { "msgtype": "m.text", "body": "second" },
            "m.relates_to": { "rel_type": "m.replace", "event_id": reply },
        });
        send(&server, &alice, &room, "m.room.message", edit).await.ok();
        let v1 = format!("/_matrix/client/v1/rooms/{room}/relations/{root}");
        for path in [v1.clone(), format!("{v1}/m.thread"), format!("{v1}/m.thread/m.room.message")] {
            let answer = server.get(&path, &alice.token).await;
            let event = find(answer.ok(), &reply).expect("the reply");
            let edited = &event["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"]["body"];
            assert_eq!(edited, "second", "{path}");
        }
        // The newest reply in the root's aggregation shows its edit, too.
        let event = server.get(&room_path(&room, &format!("event/{root}")), &alice.token).await;
        let latest = &event.ok()["unsigned"]["m.relations"]["m.thread"]["latest_event"];
        assert_eq!(latest["event_id"], reply);
        let edited = &latest["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"]["body"];
        assert_eq!(edited, "second");
        // Relations of relations are returned with the depth that was reached.
        let deep = server.get(&format!("{v1}?recurse=true&limit=100"), &alice.token).await;
        assert!(deep.ok()["recursion_depth"].as_u64().is_some_and(|depth| depth >= 2), "{}", deep.body);
        assert!(deep.body["chunk"].as_array().is_some_and(|chunk| chunk.len() == 5), "{}", deep.body);
    }
}

/// The edit that a member sees of an event.
async fn shown_edit(server: &TestServer, user: &TestUser, room: &str, event_id: &str) -> Value {
    let event = server.get(&room_path(room, &format!("event/{event_id}")), &user.token).await;
    event.ok()["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"]["body"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_without_content_hides_no_other() {
    for server in TestServer::on_each().await {
        let Scene { alice, room, root } = scene(&server).await;
        let relation = json!({ "rel_type": "m.replace", "event_id": root });
        let empty = json!({ "msgtype": "m.text", "body": "* empty", "m.relates_to": relation });
        send(&server, &alice, &room, "m.room.message", empty.clone()).await.ok();
        server.put(&room_path(&room, "state/m.room.message"), &alice.token, empty).await.ok();
        assert_eq!(shown_edit(&server, &alice, &room, &root).await, "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edit_with_the_latest_time_is_shown() {
    for place in places() {
        let server = TestServer::on(place).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let state = server.get(&room_path(&room, "state"), &alice.token).await.ok().clone();
        let id = |event: &Value| EventId::try_from(event["event_id"].as_str().unwrap()).unwrap();
        let of_state = |event_type: &str, key: &str| {
            let mut events = state.as_array().unwrap().iter();
            id(events.find(|event| event["type"] == event_type && event["state_key"] == key).unwrap())
        };
        let auth_events = vec![
            of_state("m.room.create", ""),
            of_state("m.room.power_levels", ""),
            of_state("m.room.member", &away.bob),
        ];
        let mut last = auth_events[2].clone();
        let mut message = |content: Value, depth: u64, origin_server_ts: u64| {
            let builder = PduBuilder {
                room_id: Some(room.as_str().try_into().unwrap()),
                sender: away.bob.as_str().try_into().unwrap(),
                event_type: "m.room.message".to_owned(),
                state_key: None,
                content: Object::parse(&content.to_string()).unwrap(),
                unsigned: None,
                redacts: None,
                prev_events: vec![last.clone()],
                auth_events: auth_events.clone(),
                depth,
                origin_server_ts,
            };
            let pdu = builder.build(RoomVersion::V11, away.peer.key(), away.peer.name()).unwrap();
            last = pdu.event_id().clone();
            pdu
        };
        let root = message(json!({ "msgtype": "m.text", "body": "root" }), 101, 1_700_000_000_000);
        let edit = |body: &str| {
            json!({
                "msgtype": "m.text", "body": body, "m.new_content": { "msgtype": "m.text", "body": body },
                "m.relates_to": { "rel_type": "m.replace", "event_id": root.event_id().as_str() },
            })
        };
        let latest = message(edit("latest"), 102, 1_700_000_002_000);
        let earlier = message(edit("earlier"), 103, 1_700_000_001_000);
        let since = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok()["next_batch"].clone();
        let pdus = [&root, &latest, &earlier].map(|pdu| serde_json::from_str(pdu.json()).unwrap());
        away.send(&server, "edits", pdus.to_vec(), Vec::new()).await.ok();
        let arrived = |answer: &Value| find(answer, earlier.event_id().as_str()).is_some();
        synced(&server, &alice, since.as_str().unwrap(), arrived).await;
        assert_eq!(shown_edit(&server, &alice, &room, root.event_id().as_str()).await, "latest");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_users_take_no_part_in_threads() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let root = say(&server, &bob, &room, "root").await;
        let in_thread = json!({ "rel_type": "m.thread", "event_id": root });
        let reply = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": in_thread });
        let of_alice = send(&server, &alice, &room, "m.room.message", reply.clone()).await;
        send(&server, &bob, &room, "m.room.message", reply).await.ok();
        let other = say(&server, &alice, &room, "other").await;
        let in_other = json!({ "rel_type": "m.thread", "event_id": other });
        let reply = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": in_other });
        send(&server, &bob, &room, "m.room.message", reply).await.ok();
        let threads = format!("/_matrix/client/v1/rooms/{room}/threads");
        let all = server.get(&threads, &alice.token).await;
        assert_eq!(all.ok()["chunk"].as_array().map(Vec::len), Some(2));
        assert_eq!(find(all.ok(), &root).expect("the root")["unsigned"]["m.relations"]["m.thread"]["count"], 2);

        let ignored = json!({ "ignored_users": { bob.id.clone(): {} } });
        let path = format!("{CLIENT}/user/{}/account_data/m.ignored_user_list", alice.id);
        server.put(&path, &alice.token, ignored).await.ok();
        let all = server.get(&threads, &alice.token).await;
        assert_eq!(all.ok()["chunk"].as_array().map(Vec::len), Some(1), "{}", all.body);
        let shown = find(all.ok(), &root).expect("the root");
        assert_eq!(shown["content"], json!({}), "it is redacted");
        let thread = &shown["unsigned"]["m.relations"]["m.thread"];
        assert_eq!(thread["count"], 1);
        assert_eq!(thread["latest_event"]["event_id"], of_alice.ok()["event_id"]);
        let event = server.get(&room_path(&room, &format!("event/{other}")), &alice.token).await;
        assert_eq!(event.ok()["unsigned"]["m.relations"]["m.thread"], Value::Null);
    }
}
