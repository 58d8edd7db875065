//! A client that applies any sequence of responses holds what `/state` and `/messages` say.

use std::collections::{BTreeMap, BTreeSet};

use plexus_base::Random;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use super::{pos, sliding};
use crate::client::say;
use crate::client::sync::replay::{HeldState, Stage, assert_state, history, ids, joined_rooms, text};

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
    state: HeldState,
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
            } else if !self.rooms.contains_key(id) {
                // More of a room from which the user was removed.
                continue;
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
                room.state.insert((text(&event, "type"), text(&event, "state_key")), text(&event, "event_id"));
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

/// The client holds the newest events of all rooms, without a gap.
async fn assert_is_up_to_date(server: &TestServer, user: &TestUser, client: &Client) {
    for (id, room) in &client.rooms {
        let history = ids(&history(server, user, id).await);
        assert!(room.timeline.len() >= 3 && history.ends_with(&room.timeline), "{id}: {:?}", room.timeline);
    }
}

async fn assert_holds_everything(server: &TestServer, user: &TestUser, client: &Client) {
    let joined = joined_rooms(server, user).await;
    let held: BTreeSet<&String> = client.rooms.keys().collect();
    assert_eq!(held, joined.iter().collect());
    for id in &joined {
        let room = &client.rooms[id];
        let is_left_out = |member: &str| client.lazy && !room.senders.contains(member);
        assert_state(server, user, id, &room.state, is_left_out).await;
        assert_eq!(room.timeline, ids(&history(server, user, id).await), "the timeline of {id}");
    }
}

async fn replay(server: &mut TestServer, seed: u64) {
    let random = Random::seeded(seed);
    let stage = Stage::new(server, seed, ROOMS).await;
    let (alice, bob) = (stage.users[0].clone(), stage.users[1].clone());
    let mut client = Client { lazy: seed.is_multiple_of(2), pos: None, rooms: BTreeMap::new() };
    for step in 0..STEPS {
        for _ in 0..random.below(4) {
            stage.act(server, &random).await;
        }
        if step % 20 == 19 {
            server.restart().await;
        }
        let (last, limit) = (random.below(5) as usize, random.below(5) as usize);
        let subscribed = stage.rooms.get(random.below(2 * ROOMS as u64) as usize);
        let body = client.body(last, limit, subscribed);
        let response = sliding(server, &bob, client.pos.as_deref(), body).await;
        // Now and then a response is lost, and the client asks again.
        if random.below(4) > 0 {
            client.apply(&response, &bob.id);
        }
    }
    say(server, &alice, &stage.rooms[0], "the end").await;
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
