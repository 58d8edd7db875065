//! A redaction takes effect in memory as it does in the database: a server that has run all the time shows the same as
//! one that was started on its database a moment ago, at every endpoint, and neither shows what was redacted.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::*;

use crate::client::room_path;

/// How many things happen in a room.
const STEPS: u64 = 60;

/// A generator of numbers that come out the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A text that is part of no other.
fn secret() -> String {
    format!("{}.", unique_name())
}

/// An event of the room's history.
struct Said {
    id: String,
    by: usize,
    /// Whether it is a message that others can be about.
    is_plain: bool,
    /// What nobody may read any more once it has been redacted.
    secret: String,
    redacted: bool,
}

/// A room in which things happen.
struct Drama {
    stage: Stage,
    /// Alice, who may redact everything, and Bob.
    users: Vec<TestUser>,
    said: Vec<Said>,
    numbers: Numbers,
    /// Bob's token of before anything happened.
    since: String,
}

impl Drama {
    async fn new(place: TestPlace, version: &str, seed: u64) -> Self {
        let stage = Stage::on(place, version, "").await;
        let bob = stage.server.register("bob").await;
        stage.server.post(&room_path(&stage.room, "join"), &bob.token, json!({})).await.ok();
        let since = stage.server.get(&format!("{CLIENT}/sync"), &bob.token).await.ok()["next_batch"].clone();
        let users = vec![stage.alice.clone(), bob];
        for user in &users {
            // Unread counts begin here, whatever becomes of their member events.
            let path = room_path(&stage.room, &format!("receipt/m.read/{}", stage.newest().await));
            stage.server.post(&path, &user.token, json!({})).await.ok();
        }
        Self { stage, users, said: Vec::new(), numbers: Numbers(seed), since: since.as_str().unwrap().to_owned() }
    }

    async fn put(&self, by: usize, rest: &str, content: Value) -> String {
        let path = room_path(&self.stage.room, rest);
        let answer = self.stage.server.put(&path, &self.users[by].token, content).await;
        answer.ok()["event_id"].as_str().unwrap().to_owned()
    }

    fn note(&mut self, id: String, by: usize, is_plain: bool, secret: String) {
        self.said.push(Said { id, by, is_plain, secret, redacted: false });
    }

    async fn say(&mut self, by: usize, relation: Option<Value>) {
        let secret = secret();
        let mut content = json!({ "msgtype": "m.text", "body": secret });
        let is_plain = relation.is_none();
        if let Some(relation) = relation {
            if relation["rel_type"] == "m.replace" {
                content["m.new_content"] = json!({ "msgtype": "m.text", "body": secret });
            }
            content["m.relates_to"] = relation;
        }
        let id = self.put(by, &format!("send/m.room.message/{}", unique_name()), content).await;
        self.note(id, by, is_plain, secret);
    }

    /// A message about an earlier one.
    async fn relate(&mut self, rel_type: &str) {
        let Some(target) = self.some(|said| said.is_plain && said.by < 2) else { return };
        let (id, author) = (self.said[target].id.clone(), self.said[target].by);
        let by = if rel_type == "m.replace" { author } else { self.numbers.below(2) };
        self.say(by, Some(json!({ "rel_type": rel_type, "event_id": id }))).await;
    }

    async fn set(&mut self) {
        let by = self.numbers.below(2);
        let secret = secret();
        let member = format!("m.room.member/{}", self.users[by].id);
        let (by, path, content) = match self.numbers.below(6) {
            0 => (0, "m.room.name/", json!({ "name": secret })),
            1 | 2 => (0, "m.room.topic/", json!({ "topic": secret })),
            3 => (0, "test.state/key", json!({ "value": secret })),
            4 => (0, "m.room.avatar/", json!({ "url": format!("mxc://test/{secret}") })),
            _ => (by, &*member, json!({ "membership": "join", "displayname": secret })),
        };
        let id = self.put(by, &format!("state/{path}"), content).await;
        self.note(id, by, false, secret);
    }

    async fn redact(&mut self) {
        let Some(target) = self.some(|_| true) else { return };
        let secret = secret();
        let path = format!("redact/{}/{}", self.said[target].id, unique_name());
        let id = self.put(0, &path, json!({ "reason": secret })).await;
        self.said[target].redacted = true;
        self.note(id, 0, false, secret);
    }

    /// The other server sends a message and its redaction: the redaction first or behind the message, one by one or
    /// `at_once`.
    async fn send_from_elsewhere(&mut self, early: bool, at_once: bool) {
        let (message, reason) = (secret(), secret());
        let said = self.stage.lie(|event| event["content"]["body"] = json!(message)).await;
        let id = id_of(&said, self.stage.version);
        let redaction = self
            .stage
            .lie(|event| {
                event["type"] = json!("m.room.redaction");
                event["content"] = json!({ "redacts": id, "reason": reason });
                event["redacts"] = json!(id);
                if at_once && !early {
                    event["prev_events"] = self.stage.references(std::slice::from_ref(&id));
                }
                if self.stage.version.rules().redaction.redacts_in_content {
                    event.as_object_mut().unwrap().remove("redacts");
                }
            })
            .await;
        let order = if early { [redaction.clone(), said] } else { [said, redaction.clone()] };
        for events in order.chunks(if at_once { 2 } else { 1 }) {
            self.stage.send(events).await.ok();
            self.stage.judged().await;
        }
        let redaction = id_of(&redaction, self.stage.version);
        self.said.push(Said { id, by: 2, is_plain: true, secret: message, redacted: true });
        self.note(redaction, 2, false, reason);
    }

    fn some(&mut self, wanted: impl Fn(&Said) -> bool) -> Option<usize> {
        let found: Vec<usize> = (0..self.said.len()).filter(|at| wanted(&self.said[*at])).collect();
        if found.is_empty() { None } else { Some(found[self.numbers.below(found.len())]) }
    }

    async fn step(&mut self, step: u64) {
        match self.numbers.below(12) {
            0 | 1 => {
                let by = self.numbers.below(2);
                self.say(by, None).await;
            }
            2 => self.relate("m.replace").await,
            3 => self.relate("m.thread").await,
            4 => self.relate("m.reference").await,
            5..=7 => self.set().await,
            8..=10 => self.redact().await,
            _ => self.send_from_elsewhere(step.is_multiple_of(2), self.numbers.0 & 1 << 40 == 0).await,
        }
        // Somebody reads, so that memory has everything that it can have.
        let path =
            ["state", "members", "messages?dir=b&limit=5", "state/m.room.topic/?format=event"][self.numbers.below(4)];
        self.stage.server.get(&room_path(&self.stage.room, path), &self.users[1].token).await;
        let sync = format!("{CLIENT}/sync?since={}&timeout=0", self.since);
        self.stage.server.get(&sync, &self.users[1].token).await.ok();
    }

    /// What every endpoint that reads the room answers.
    async fn readings(&self) -> BTreeMap<String, Answer> {
        let room = &self.stage.room;
        let newest = self.stage.newest().await;
        let mut paths: Vec<String> = [
            "messages?dir=b&limit=200",
            "messages?dir=f&limit=200",
            "state",
            "members",
            "joined_members",
            "state/m.room.name/",
            "state/m.room.topic/?format=event",
            "state/test.state/key?format=event",
            "aliases",
        ]
        .map(|rest| room_path(room, rest))
        .to_vec();
        let v1 = "/_matrix/client/v1";
        paths.extend(
            ["threads", "threads?include=participated", "hierarchy"].map(|it| format!("{v1}/rooms/{room}/{it}")),
        );
        paths.push(format!("{v1}/room_summary/{room}"));
        paths.push(format!("{CLIENT}/notifications?limit=200"));
        paths.push(format!("{CLIENT}/publicRooms"));
        let many = r#"{"room":{"timeline":{"limit":200}}}"#;
        let lazy = r#"{"room":{"timeline":{"limit":3},"state":{"lazy_load_members":true}}}"#;
        for filter in [many, lazy] {
            let filter = percent(filter);
            paths.push(format!("{CLIENT}/sync?filter={filter}"));
            paths.push(format!("{CLIENT}/sync?filter={filter}&since={}", self.since));
            paths.push(format!("{CLIENT}/sync?filter={filter}&since={}&full_state=true", self.since));
        }
        for said in &self.said {
            paths.push(room_path(room, &format!("event/{}", said.id)));
            paths.push(room_path(room, &format!("context/{}?limit=4", said.id)));
            paths.push(format!("{v1}/rooms/{room}/relations/{}", said.id));
        }
        let mut answers = BTreeMap::new();
        for path in paths {
            for user in &self.users {
                let answer = self.stage.server.get(&path, &user.token).await;
                answers.insert(format!("{} {path}", user.id), answer);
            }
        }
        let mut asked = vec![
            format!("{}?v={newest}&limit=100", federation::path("v1/backfill", &[room])),
            format!("{}?event_id={newest}", federation::path("v1/state", &[room])),
        ];
        asked.extend(self.said.iter().map(|said| federation::path("v1/event", &[&said.id])));
        for path in asked {
            let answer = self.stage.honest.peer.get(&self.stage.server, &path).await;
            answers.insert(path, answer);
        }
        answers
    }

    fn has_no_secrets(&self, answers: &BTreeMap<String, Answer>, when: &str) {
        for said in self.said.iter().filter(|said| said.redacted) {
            for (path, answer) in answers {
                let text = String::from_utf8_lossy(&answer.bytes);
                assert!(!text.contains(&said.secret), "{when} {path} shows what {} was:\n{text}", said.id);
            }
        }
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The answer without what depends on when it is asked, and lists of state in the same order.
fn lasting(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let passing =
                ["age", "next_batch", "prev_batch", "presence", "to_device", "device_one_time_keys_count", "ephemeral"];
            let kept = members.iter().filter(|(name, _)| !passing.contains(&name.as_str()));
            let kept = kept.map(|(name, value)| {
                let mut value = lasting(value);
                let list =
                    if name == "state" && value.is_object() { value.get_mut("events") } else { Some(&mut value) };
                if matches!(name.as_str(), "state" | "chunk" | "pdus" | "auth_chain")
                    && let Some(Value::Array(events)) = list
                {
                    events.sort_by_key(Value::to_string);
                }
                (name.clone(), value)
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(lasting).collect()),
        other => other.clone(),
    }
}

fn same(before: &BTreeMap<String, Answer>, after: &BTreeMap<String, Answer>) {
    assert!(before.keys().eq(after.keys()));
    for (path, was) in before {
        let (is, mut was) = (&after[path], lasting(&was.body));
        let mut now = lasting(&is.body);
        if path.contains("/federation/") {
            // When it was answered.
            for body in [&mut was, &mut now] {
                body.as_object_mut().map(|body| body.remove("origin_server_ts"));
            }
        }
        if let Some(difference) = difference(&was, &now) {
            panic!("{path}, in memory and after a restart, {difference}");
        }
    }
}

/// Where two values begin to differ.
fn difference(one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(ones), Value::Object(others)) if ones.keys().eq(others.keys()) => ones
            .iter()
            .find_map(|(name, one)| difference(one, &others[name]).map(|difference| format!(".{name}{difference}"))),
        (Value::Array(ones), Value::Array(others)) if ones.len() == others.len() => {
            let mut pairs = ones.iter().zip(others).enumerate();
            pairs.find_map(|(at, (one, other))| difference(one, other).map(|difference| format!("[{at}]{difference}")))
        }
        _ if one == other => None,
        _ => Some(format!(": {one}\n{other}")),
    }
}

async fn plays(place: TestPlace, version: &str, seed: u64) {
    let mut drama = Drama::new(place, version, seed).await;
    for step in 0..STEPS {
        drama.step(step).await;
    }
    let before = drama.readings().await;
    drama.has_no_secrets(&before, "in memory");
    drama.stage.server.restart().await;
    let after = drama.readings().await;
    drama.has_no_secrets(&after, "after a restart");
    same(&before, &after);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_shows_what_the_database_holds() {
    let versions = ["10", "11", "12"];
    let places = versions.iter().flat_map(|version| plexus_testkit::places().into_iter().map(move |it| (version, it)));
    join_all(places.zip(1..).map(|((version, place), seed)| plays(place, version, seed))).await;
}

/// What this server knows only as part of the state that it was given with its join is redacted all the same, and so is
/// what it gets only when somebody pages back.
#[tokio::test(flavor = "multi_thread")]
async fn events_before_the_join_are_redacted() {
    for place in plexus_testkit::places() {
        let mut here = TestServer::on(place).federating().start().await;
        let there = TestServer::on(TestPlace::sqlite()).federating().start().await;
        let (alice, bob) = (there.register("alice").await, here.register("bob").await);
        let room = federation::public_room(&there, &alice, "11").await;
        let put = async |rest: &str, content: Value| {
            let answer = there.put(&room_path(&room, rest), &alice.token, content).await;
            answer.ok()["event_id"].as_str().unwrap().to_owned()
        };
        let topic = put("state/m.room.topic/", json!({ "topic": "secret" })).await;
        let value = put("state/test.state/key", json!({ "value": "secret" })).await;
        let message = say(&there, &alice, &room, "secret").await;
        let join = format!("{CLIENT}/join/{room}?via={}", there.name());
        here.post(&join, &bob.token, json!({})).await.ok();
        let shown = here.get(&room_path(&room, "state"), &bob.token).await;
        assert!(String::from_utf8_lossy(&shown.bytes).contains("secret"));
        let since = here.get(&format!("{CLIENT}/sync"), &bob.token).await.ok()["next_batch"].clone();
        for event in [&topic, &value, &message] {
            put(&format!("redact/{event}/{}", unique_name()), json!({})).await;
        }
        let last = say(&there, &alice, &room, "last").await;
        let came = |answer: &Value| answer["rooms"]["join"][&room]["timeline"]["events"].to_string().contains(&last);
        let came = synced(&here, &bob, since.as_str().unwrap(), came);
        plexus_testkit::within(BOUND, came).await.expect("the redactions must come");
        let asked = ["state", "state/test.state/key", "messages?dir=b&limit=100", "messages?dir=f&limit=100", "state"];
        for _ in 0..2 {
            for rest in asked {
                let answer = here.get(&room_path(&room, rest), &bob.token).await;
                answer.ok();
                assert!(!String::from_utf8_lossy(&answer.bytes).contains("secret"), "{rest}: {answer:?}");
            }
            let summary = here.get(&format!("/_matrix/client/v1/room_summary/{room}"), &bob.token).await;
            assert_eq!(summary.ok()["topic"], Value::Null);
            here.restart().await;
        }
    }
}
