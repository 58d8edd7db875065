//! A client that applies any sequence of responses holds what `/state` and `/messages` say.

use std::collections::{BTreeMap, BTreeSet};

use plexus_base::Random;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use super::{pos, sliding};
use crate::client::{CLIENT, join, public_room, room_path, say};

const ROOMS: usize = 4;
const STEPS: usize = 60;
/// More events than any room gets.
const ALL: usize = 500;

/// What the client holds of a room.
#[derive(Default)]
struct HeldRoom {
    /// Event ids, oldest first.
    timeline: Vec<String>,
    senders: BTreeSet<String>,
    /// Event id by type and state key.
    state: BTreeMap<(String, String), String>,
}

/// A client that knows nothing but what responses say.
struct Client {
    lazy: bool,
    pos: Option<String>,
    rooms: BTreeMap<String, HeldRoom>,
}

impl Client {
    fn body(&self, last: usize, limit: usize, subscribed: Option<&String>) -> Value {
        let all = if self.lazy { json!([["*", "*"], ["m.room.member", "$LAZY"]]) } else { json!([["*", "*"]]) };
        let list = json!({ "ranges": [[0, last]], "timeline_limit": limit, "required_state": all });
        let subscription = json!({ "timeline_limit": limit * 3, "required_state": [["m.room.name", ""]] });
        let subscriptions: BTreeMap<&String, Value> = subscribed.map(|room| (room, subscription)).into_iter().collect();
        json!({ "lists": { "all": list }, "room_subscriptions": subscriptions })
    }

    fn apply(&mut self, response: &Value, own_id: &str) {
        self.pos = Some(pos(response).to_owned());
        let rooms = response["rooms"].as_object().expect("rooms");
        for (id, update) in rooms {
            if update["initial"] == true {
                self.rooms.remove(id);
            }
            let room = self.rooms.entry(id.clone()).or_default();
            let events = |name: &str| update[name].as_array().cloned().unwrap_or_default();
            if update["limited"] == true || update["unstable_expanded_timeline"] == true {
                room.timeline.clear();
                room.senders.clear();
            }
            for event in events("timeline") {
                let event_id = event["event_id"].as_str().expect("an id").to_owned();
                assert!(!room.timeline.contains(&event_id), "{event_id} comes twice in {id}: {update}");
                room.timeline.push(event_id);
                room.senders.insert(event["sender"].as_str().expect("a sender").to_owned());
            }
            for event in events("required_state") {
                let text = |name: &str| event[name].as_str().expect("a text").to_owned();
                room.state.insert((text("type"), text("state_key")), text("event_id"));
            }
            let own = events("required_state").into_iter().find(|event| {
                event["type"] == "m.room.member"
                    && event["state_key"] == own_id
                    && event["content"]["membership"] != "join"
            });
            if own.is_some() || update["invite_state"].is_array() {
                self.rooms.remove(id);
            }
        }
    }
}

/// Something happens in one of the rooms.
async fn act(server: &TestServer, random: &Random, users: &[TestUser], rooms: &[String]) {
    let room = &rooms[random.below(rooms.len() as u64) as usize];
    let user = &users[random.below(users.len() as u64) as usize];
    let post = async |rest: &str, user: &TestUser, body: Value| {
        server.post(&room_path(room, rest), &user.token, body).await;
    };
    match random.below(10) {
        0..6 => {
            let path = room_path(room, &format!("send/m.room.message/{}", plexus_testkit::unique_name()));
            server.put(&path, &user.token, json!({ "msgtype": "m.text", "body": "x" })).await;
        }
        6 => {
            let name = json!({ "name": plexus_testkit::unique_name() });
            server.put(&room_path(room, "state/m.room.name"), &users[0].token, name).await;
        }
        7 => post("leave", &users[2], json!({})).await,
        8 => post("kick", &users[0], json!({ "user_id": &users[1].id })).await,
        _ => {
            post("join", &users[1], json!({})).await;
            post("join", &users[2], json!({})).await;
        }
    }
}

/// The client holds the newest events of all rooms, without a gap.
async fn assert_is_up_to_date(server: &TestServer, user: &TestUser, client: &Client) {
    for (id, room) in &client.rooms {
        let history = history(server, user, id).await;
        assert!(room.timeline.len() >= 3 && history.ends_with(&room.timeline), "{id}: {:?}", room.timeline);
    }
}

/// The events of a room, oldest first.
async fn history(server: &TestServer, user: &TestUser, room: &str) -> Vec<String> {
    let page = server.get(&room_path(room, "messages?dir=b&limit=500"), &user.token).await;
    let events = page.ok()["chunk"].as_array().expect("events").iter().rev();
    events.map(|event| event["event_id"].as_str().expect("an id").to_owned()).collect()
}

async fn assert_holds_everything(server: &TestServer, user: &TestUser, client: &Client) {
    let joined = server.get(&format!("{CLIENT}/joined_rooms"), &user.token).await;
    let joined: Vec<&str> =
        joined.ok()["joined_rooms"].as_array().expect("rooms").iter().filter_map(Value::as_str).collect();
    let held: BTreeSet<&str> = client.rooms.keys().map(String::as_str).collect();
    assert_eq!(held, joined.iter().copied().collect());
    for id in joined {
        let room = &client.rooms[id];
        let state = server.get(&room_path(id, "state"), &user.token).await;
        for event in state.ok().as_array().expect("events") {
            let text = |name: &str| event[name].as_str().expect("a text").to_owned();
            let key = (text("type"), text("state_key"));
            let is_left_out = client.lazy && key.0 == "m.room.member" && !room.senders.contains(&key.1);
            if !is_left_out {
                assert_eq!(room.state.get(&key), Some(&text("event_id")), "{key:?} in {id}");
            }
        }
        assert_eq!(room.timeline, history(server, user, id).await, "the timeline of {id}");
    }
}

async fn replay(server: &mut TestServer, seed: u64) {
    let random = Random::seeded(seed);
    let mut users = Vec::new();
    for name in ["alice", "bob", "carol"] {
        users.push(server.register(&format!("{name}{seed}")).await);
    }
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        let room = public_room(server, &users[0]).await;
        for user in &users[1..] {
            join(server, user, &room).await;
        }
        rooms.push(room);
    }
    let bob = users[1].clone();
    let mut client = Client { lazy: seed.is_multiple_of(2), pos: None, rooms: BTreeMap::new() };
    for step in 0..STEPS {
        for _ in 0..random.below(4) {
            act(server, &random, &users, &rooms).await;
        }
        if step % 20 == 19 {
            server.restart().await;
        }
        let (last, limit) = (random.below(5) as usize, random.below(5) as usize);
        let subscribed = rooms.get(random.below(2 * ROOMS as u64) as usize);
        let body = client.body(last, limit, subscribed);
        let response = sliding(server, &bob, client.pos.as_deref(), body).await;
        // Now and then a response is lost, and the client asks again.
        if random.below(4) > 0 {
            client.apply(&response, &bob.id);
        }
    }
    say(server, &users[0], &rooms[0], "the end").await;
    for _ in 0..2 {
        let response = sliding(server, &bob, client.pos.as_deref(), client.body(99, 3, None)).await;
        client.apply(&response, &bob.id);
    }
    assert_is_up_to_date(server, &bob, &client).await;
    for _ in 0..3 {
        let response = sliding(server, &bob, client.pos.as_deref(), client.body(99, ALL, None)).await;
        client.apply(&response, &bob.id);
    }
    assert_holds_everything(server, &bob, &client).await;
}

#[tokio::test]
async fn clients_hold_what_the_rooms_are() {
    for mut server in TestServer::on_each().await {
        for seed in 1..=6 {
            replay(&mut server, seed).await;
        }
    }
}
