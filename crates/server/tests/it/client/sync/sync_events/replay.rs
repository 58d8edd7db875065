//! A client that applies any sequence of responses holds what `/state` and `/messages` say, whatever its filter.

use std::collections::{BTreeMap, BTreeSet};

use plexus_base::Random;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::sync::replay::{HeldState, Stage, assert_state, history, ids, joined_rooms, text};
use crate::client::{next_batch, room_path, say, sync};

const ROOMS: usize = 4;
const STEPS: usize = 60;
/// So many runs, each by a seed of its own: 1, 2, and so on.
const RUNS: u64 = 8;
/// The events that some of the clients do not want.
const NOISE: &str = "org.example.noise";

/// What the client holds of a room.
#[derive(Default)]
struct HeldRoom {
    /// The newest events without a gap, oldest first.
    timeline: Vec<String>,
    senders: BTreeSet<String>,
    /// Where paging back from the first of them begins.
    prev_batch: String,
    state: HeldState,
}

/// What a client asks for in all its requests.
struct Wishes {
    lazy: bool,
    redundant: bool,
    state_after: bool,
    without_noise: bool,
}

/// A client that knows nothing but what responses say.
struct Client {
    wishes: Wishes,
    since: Option<String>,
    rooms: BTreeMap<String, HeldRoom>,
}

impl Wishes {
    fn random(random: &Random) -> Self {
        let coin = || random.below(2) == 0;
        Self { lazy: coin(), redundant: coin(), state_after: coin(), without_noise: coin() }
    }

    fn parameters(&self, limit: u64, full_state: bool) -> String {
        let not_types: &[&str] = if self.without_noise { &[NOISE] } else { &[] };
        let state = json!({ "lazy_load_members": self.lazy, "include_redundant_members": self.redundant });
        let timeline = json!({ "limit": limit, "lazy_load_members": self.lazy, "not_types": not_types });
        let filter = json!({ "room": { "state": state, "timeline": timeline } }).to_string().replace('"', "%22");
        format!("&filter={filter}&use_state_after={}&full_state={full_state}", self.state_after)
    }
}

impl Client {
    async fn sync(&self, server: &TestServer, user: &TestUser, limit: u64, full_state: bool) -> Value {
        sync(server, user, self.since.as_deref(), &self.wishes.parameters(limit, full_state)).await
    }

    fn apply(&mut self, response: &Value) {
        self.since = Some(next_batch(response).to_owned());
        let section = |name: &str| response["rooms"][name].as_object().cloned().unwrap_or_default();
        for (id, update) in section("join") {
            self.rooms.entry(id.clone()).or_default().apply(&id, &update, self.wishes.state_after);
        }
        for id in section("leave").keys() {
            self.rooms.remove(id);
        }
    }
}

impl HeldRoom {
    fn apply(&mut self, id: &str, update: &Value, state_after: bool) {
        let events = |section: &str| update[section]["events"].as_array().cloned().unwrap_or_default();
        let timeline = events("timeline");
        if update["timeline"]["limited"] == true || self.prev_batch.is_empty() {
            self.timeline.clear();
            self.senders.clear();
            self.prev_batch = text(&update["timeline"], "prev_batch");
        }
        for event in &timeline {
            let event_id = text(event, "event_id");
            assert!(!self.timeline.contains(&event_id), "{event_id} comes twice in {id}: {update}");
            self.timeline.push(event_id);
            self.senders.insert(text(event, "sender"));
        }
        let in_timeline = timeline.into_iter().filter(|event| !state_after && event["state_key"].is_string());
        let name = if state_after { "state_after" } else { "state" };
        for event in events(name).into_iter().chain(in_timeline) {
            self.state.insert((text(&event, "type"), text(&event, "state_key")), text(&event, "event_id"));
        }
    }
}

/// Pages back from the first event that the client holds. Returns the events before it, oldest first.
async fn earlier(server: &TestServer, user: &TestUser, id: &str, room: &HeldRoom) -> Vec<Value> {
    let path = room_path(id, &format!("messages?dir=b&limit=500&from={}", room.prev_batch));
    let page = server.get(&path, &user.token).await;
    page.ok()["chunk"].as_array().expect("events").iter().rev().cloned().collect()
}

async fn assert_holds_everything(server: &TestServer, user: &TestUser, client: &Client) {
    let joined = joined_rooms(server, user).await;
    assert_eq!(client.rooms.keys().collect::<BTreeSet<_>>(), joined.iter().collect());
    let is_wanted = |event: &&Value| !client.wishes.without_noise || event["type"] != NOISE;
    for id in &joined {
        let room = &client.rooms[id];
        let is_left_out = |member: &str| client.wishes.lazy && !room.senders.contains(member);
        assert_state(server, user, id, &room.state, is_left_out).await;
        let mut whole = earlier(server, user, id, room).await;
        whole.retain(|event| is_wanted(&event));
        let mut held = ids(&whole);
        held.extend(room.timeline.iter().cloned());
        let expected: Vec<Value> = history(server, user, id).await.iter().filter(is_wanted).cloned().collect();
        assert_eq!(held, ids(&expected), "the timeline of {id}");
    }
}

async fn replay(server: &mut TestServer, seed: u64) {
    let random = Random::seeded(seed);
    let stage = Stage::new(server, seed, ROOMS).await;
    let (alice, bob) = (&stage.users[0], &stage.users[1]);
    let mut client = Client { wishes: Wishes::random(&random), since: None, rooms: BTreeMap::new() };
    for step in 0..STEPS {
        for _ in 0..random.below(6) {
            stage.act(server, &random).await;
        }
        if step % 20 == 19 {
            server.restart().await;
        }
        let response = client.sync(server, bob, 1 + random.below(5), random.below(10) == 0).await;
        // Now and then a response is lost, and the client asks again.
        if random.below(4) > 0 {
            client.apply(&response);
        }
    }
    say(server, alice, &stage.rooms[0], "the end").await;
    for _ in 0..2 {
        let response = client.sync(server, bob, 3, false).await;
        client.apply(&response);
    }
    assert_holds_everything(server, bob, &client).await;
}

#[tokio::test]
async fn clients_hold_what_the_rooms_are() {
    for mut server in TestServer::on_each().await {
        for seed in 1..=RUNS {
            replay(&mut server, seed).await;
        }
    }
}
