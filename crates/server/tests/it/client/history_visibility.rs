//! What a reader sees of a room's history, by their standing and the room's history visibility, at every endpoint that
//! reads: what was written when they may not see it occurs in no response, whichever way they ask, and with no event
//! that they may see.

use futures_util::future::join_all;
use http::Method;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{create, room_path, send};

const CLIENT: &str = "/_matrix/client/v3";

const V1: &str = "/_matrix/client/v1";

const UNSTABLE: &str = "/_matrix/client/unstable";

const VISIBILITIES: [&str; 4] = ["world_readable", "shared", "invited", "joined"];

/// How many parts each room's history has. Between them the reader's membership changes.
const PHASES: usize = 4;

/// A token that lies beyond everything.
const FAR: &str = "s999999999";

/// What somebody is to a room: their membership in each phase.
struct Standing {
    name: &'static str,
    memberships: [&'static str; PHASES],
}

const STANDINGS: [Standing; 10] = [
    Standing { name: "joined", memberships: ["leave", "invite", "join", "join"] },
    Standing { name: "invited", memberships: ["leave", "invite", "invite", "invite"] },
    Standing { name: "knocking", memberships: ["leave", "knock", "knock", "knock"] },
    Standing { name: "rejected", memberships: ["leave", "invite", "leave", "leave"] },
    Standing { name: "left", memberships: ["leave", "invite", "join", "leave"] },
    Standing { name: "kicked", memberships: ["leave", "invite", "join", "kick"] },
    Standing { name: "banned", memberships: ["leave", "invite", "join", "ban"] },
    Standing { name: "left_then_banned", memberships: ["invite", "join", "leave", "ban"] },
    Standing { name: "stranger", memberships: ["leave"; PHASES] },
    Standing { name: "guest", memberships: ["leave"; PHASES] },
];

impl Standing {
    /// Whether the reader may see a message that was sent in a phase.
    fn sees(&self, visibility: &str, phase: usize) -> bool {
        let then = self.memberships[phase];
        match visibility {
            _ if then == "join" => true,
            "world_readable" => true,
            "shared" => self.last_joined().is_some_and(|last| last > phase),
            "invited" => then == "invite",
            _ => false,
        }
    }

    /// Whether the reader may be shown the state that was set in a phase: what it was while they were in the room.
    fn sees_state(&self, visibility: &str, phase: usize) -> bool {
        visibility == "world_readable" || self.last_joined().is_some_and(|last| last >= phase)
    }

    fn last_joined(&self) -> Option<usize> {
        self.memberships.iter().rposition(|membership| *membership == "join")
    }
}

/// Something that was written.
struct Written {
    phase: usize,
    text: String,
    kind: Kind,
    event_id: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Reason,
    State,
    Member,
}

/// A room and one reader of it.
struct Scene<'s> {
    server: &'s TestServer,
    alice: &'s TestUser,
    reader: &'s TestUser,
    standing: &'s Standing,
    visibility: &'static str,
    room: String,
    written: Vec<Written>,
    /// One message of each phase, that later ones are about.
    anchors: Vec<String>,
    /// Messages to be redacted in a later phase.
    victims: Vec<String>,
    /// Alice's tokens of the ends of phases.
    tokens: Vec<String>,
}

impl<'s> Scene<'s> {
    async fn new(
        server: &'s TestServer,
        (alice, reader): (&'s TestUser, &'s TestUser),
        standing: &'s Standing,
        visibility: &'static str,
    ) -> Self {
        let state = |event_type: &str, content: Value| json!({ "type": event_type, "content": content });
        let join_rule = if standing.name == "knocking" { "knock" } else { "invite" };
        let body = json!({ "initial_state": [
            state("m.room.join_rules", json!({ "join_rule": join_rule })),
            state("m.room.history_visibility", json!({ "history_visibility": visibility })),
        ] });
        let room = create(server, alice, body).await;
        let (written, anchors, victims, tokens) = Default::default();
        Self { server, alice, reader, standing, visibility, room, written, anchors, victims, tokens }
    }

    async fn act(&self, by: &TestUser, what: &str) {
        let answer =
            self.server.post(&room_path(&self.room, what), &by.token, json!({ "user_id": self.reader.id })).await;
        answer.ok();
    }

    /// The reader's membership becomes that of a phase.
    async fn enter(&self, phase: usize) {
        let memberships = &self.standing.memberships;
        let before = phase.checked_sub(1).map_or("leave", |before| memberships[before]);
        match memberships[phase] {
            now if now == before => {}
            "invite" => self.act(self.alice, "invite").await,
            "join" => self.act(self.reader, "join").await,
            "leave" => self.act(self.reader, "leave").await,
            "kick" => self.act(self.alice, "kick").await,
            "ban" => self.act(self.alice, "ban").await,
            _ => {
                let path = format!("{CLIENT}/knock/{}", self.room);
                self.server.post(&path, &self.reader.token, json!({})).await.ok();
            }
        }
    }

    /// A text that is part of no other.
    fn secret(&self, phase: usize, what: &str) -> String {
        format!("{}-{}-{phase}-{what}-{}.", self.standing.name, self.visibility, plexus_testkit::unique_name())
    }

    async fn message(&mut self, phase: usize, what: &str, relation: Option<(&str, &str)>) -> String {
        let text = self.secret(phase, what);
        let mut content = json!({ "msgtype": "m.text", "body": text });
        if let Some((rel_type, target)) = relation {
            content["m.relates_to"] = json!({ "rel_type": rel_type, "event_id": target });
            content["m.new_content"] = json!({ "msgtype": "m.text", "body": text });
        }
        let sent = send(self.server, self.alice, &self.room, "m.room.message", content).await;
        self.note(phase, text, Kind::Message, &sent)
    }

    fn note(&mut self, phase: usize, text: String, kind: Kind, sent: &Answer) -> String {
        let event_id = sent.ok()["event_id"].as_str().unwrap().to_owned();
        self.written.push(Written { phase, text, kind, event_id: event_id.clone() });
        event_id
    }

    async fn set(&mut self, phase: usize, key: &str, kind: Kind) {
        let text = self.secret(phase, "state");
        let content = match kind {
            Kind::Member => json!({ "membership": "join", "displayname": text }),
            _ => json!({ "value": text }),
        };
        let set = self.server.put(&room_path(&self.room, &format!("state/{key}")), &self.alice.token, content).await;
        self.note(phase, text, kind, &set);
    }

    /// Alice does all there is to do, to everything that she said before.
    async fn phase(&mut self, phase: usize) {
        self.enter(phase).await;
        let member = format!("m.room.member/{}", self.alice.id);
        self.set(phase, "test.state/", Kind::State).await;
        self.set(phase, &format!("test.state/{phase}"), Kind::State).await;
        self.set(phase, &member, Kind::Member).await;
        for victim in std::mem::take(&mut self.victims) {
            let text = self.secret(phase, "reason");
            let redact = room_path(&self.room, &format!("redact/{victim}/{}", plexus_testkit::unique_name()));
            let redacted = self.server.put(&redact, &self.alice.token, json!({ "reason": text })).await;
            self.note(phase, text, Kind::Reason, &redacted);
        }
        for anchor in self.anchors.clone() {
            for (rel_type, what) in [("m.replace", "edit"), ("m.thread", "reply"), ("m.reference", "reference")] {
                self.message(phase, what, Some((rel_type, &anchor))).await;
            }
        }
        let anchor = self.message(phase, "plain", None).await;
        self.anchors.push(anchor);
        // What it says is gone in the end; who sees that it was redacted, and by what, is to be seen.
        let content = json!({ "msgtype": "m.text", "body": "victim" });
        let victim = send(self.server, self.alice, &self.room, "m.room.message", content).await;
        self.victims.push(victim.ok()["event_id"].as_str().unwrap().to_owned());
        let sync = format!("{CLIENT}/sync?filter={}", query(r#"{"room":{"rooms":[]}}"#));
        let answer = self.server.get(&sync, &self.alice.token).await;
        self.tokens.push(answer.ok()["next_batch"].as_str().unwrap().to_owned());
    }

    async fn play(mut self) -> Self {
        for phase in 0..PHASES {
            self.phase(phase).await;
        }
        self
    }

    /// Everything the reader can ask about the room.
    fn questions(&self) -> Vec<String> {
        let lazy = query(r#"{"lazy_load_members":true}"#);
        let mut asked: Vec<String> = ["state", "members", "joined_members", "aliases", "state/test.state/"]
            .map(|rest| room_path(&self.room, rest))
            .to_vec();
        for phase in 0..PHASES {
            asked.push(room_path(&self.room, &format!("state/test.state/{phase}?format=event")));
        }
        asked.push(room_path(&self.room, &format!("state/m.room.member/{}?format=event", self.alice.id)));
        for token in self.tokens.iter().map(String::as_str).chain([FAR, "s0", "s-3"]) {
            asked.push(room_path(&self.room, &format!("members?at={token}")));
            asked.push(room_path(&self.room, &format!("messages?dir=b&limit=100&from={token}&filter={lazy}")));
            asked.push(room_path(&self.room, &format!("messages?dir=f&limit=100&from={token}&to={FAR}")));
            asked.push(format!("{V1}/rooms/{}/threads?from={token}", self.room));
            asked.push(format!("{V1}/rooms/{}/threads?include=participated&from={token}", self.room));
            asked.push(format!("{CLIENT}/events?timeout=0&from={token}&room_id={}", self.room));
        }
        asked.push(room_path(&self.room, "initialSync?limit=100"));
        asked.push(room_path(&self.room, "messages?dir=b&limit=100"));
        asked.push(room_path(&self.room, "messages?dir=f&limit=100"));
        asked.push(format!("{V1}/rooms/{}/threads", self.room));
        for written in &self.written {
            asked.push(room_path(&self.room, &format!("event/{}", written.event_id)));
            asked.push(format!("{CLIENT}/events/{}", written.event_id));
        }
        for anchor in &self.anchors {
            asked.push(room_path(&self.room, &format!("context/{anchor}?limit=100")));
            asked.push(room_path(&self.room, &format!("context/{anchor}?limit=2&filter={lazy}")));
            asked.push(format!("{V1}/rooms/{}/relations/{anchor}?limit=100&from={FAR}&recurse=true", self.room));
            asked.push(format!("{V1}/rooms/{}/relations/{anchor}/m.thread?dir=f&limit=100&to={FAR}", self.room));
        }
        for direction in ["f", "b"] {
            asked.push(format!("{V1}/rooms/{}/timestamp_to_event?ts=4000000000000&dir={direction}", self.room));
            asked.push(format!("{V1}/rooms/{}/timestamp_to_event?ts=0&dir={direction}", self.room));
        }
        asked.push(format!("{V1}/rooms/{}/hierarchy", self.room));
        asked.push(format!("{V1}/room_summary/{}", self.room));
        asked
    }

    async fn ask(&self) {
        for question in self.questions() {
            let answer = self.server.get(&question, &self.reader.token).await;
            assert!(answer.status < 500, "{question}: {answer:?}");
            self.nothing_hidden_in(&question, &answer);
        }
        for written in &self.written {
            let report = room_path(&self.room, &format!("report/{}", written.event_id));
            let answer = self.server.post(&report, &self.reader.token, json!({})).await;
            if self.is_hidden(written) {
                let refused = (404, "M_NOT_FOUND");
                let refused = if self.standing.name == "guest" { (403, "M_GUEST_ACCESS_FORBIDDEN") } else { refused };
                assert_eq!(answer.refusal(), refused, "{report}");
            }
        }
        self.the_rest_is_there().await;
    }

    fn is_hidden(&self, written: &Written) -> bool {
        match written.kind {
            Kind::Message | Kind::Reason => !self.standing.sees(self.visibility, written.phase),
            // Whoever is invited learns who invites them.
            Kind::Member if self.standing.name == "invited" => false,
            Kind::State | Kind::Member => {
                !self.standing.sees_state(self.visibility, written.phase)
                    && !self.standing.sees(self.visibility, written.phase)
            }
        }
    }

    fn nothing_hidden_in(&self, question: &str, answer: &Answer) {
        let text = String::from_utf8_lossy(&answer.bytes);
        for written in self.written.iter().filter(|written| self.is_hidden(written)) {
            let place = format!("{} in a room that is {}", self.standing.name, self.visibility);
            assert!(!text.contains(&written.text), "{place}: {question} shows {}:\n{text}", written.text);
            // State events and redactions are named by what replaces them or was redacted, messages by what is about
            // them.
            let is_named = written.kind != Kind::Message || self.anchors.contains(&written.event_id);
            if !is_named && !question.contains(&written.event_id) {
                assert!(!text.contains(&written.event_id), "{place}: {question} names {}:\n{text}", written.text);
            }
        }
    }

    /// What the reader may see is there, with all that belongs to it.
    async fn the_rest_is_there(&self) {
        for written in self.written.iter().filter(|written| written.kind == Kind::Message) {
            let question = room_path(&self.room, &format!("event/{}", written.event_id));
            let answer = self.server.get(&question, &self.reader.token).await;
            if self.is_hidden(written) {
                assert_eq!(answer.refusal(), (404, "M_NOT_FOUND"), "{}", written.text);
            } else {
                assert_eq!(answer.ok()["content"]["body"], written.text.as_str());
            }
        }
        for (phase, anchor) in
            self.anchors.iter().enumerate().filter(|(phase, _)| self.standing.sees(self.visibility, *phase))
        {
            let answer = self.server.get(&room_path(&self.room, &format!("event/{anchor}")), &self.reader.token).await;
            let relations = &answer.ok()["unsigned"]["m.relations"];
            let later: Vec<usize> =
                (phase + 1..PHASES).filter(|later| self.standing.sees(self.visibility, *later)).collect();
            let newest = |what: &str| {
                let found = self.written.iter().filter(|it| later.last() == Some(&it.phase) && it.text.contains(what));
                found.map(|it| it.text.as_str()).nth(phase).map_or(Value::Null, Value::from)
            };
            let about = format!("{} {} {phase}: {relations}", self.standing.name, self.visibility);
            assert_eq!(relations["m.replace"]["content"]["body"], newest("-edit-"), "{about}");
            assert_eq!(relations["m.thread"]["latest_event"]["content"]["body"], newest("-reply-"), "{about}");
            assert_eq!(relations["m.thread"]["count"].as_u64().unwrap_or(0), later.len() as u64, "{about}");
            let references = relations["m.reference"]["chunk"].as_array().map_or(0, Vec::len);
            assert_eq!(references, later.len(), "{about}");
        }
    }
}

/// A text as part of a query.
fn query(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn guest(server: &TestServer) -> TestUser {
    let path = format!("{CLIENT}/register?kind=guest");
    let answer = server.request(Method::POST, &path, None, Some(json!({}))).await;
    let field = |name: &str| answer.ok()[name].as_str().unwrap_or_default().to_owned();
    TestUser { id: field("user_id"), token: field("access_token"), device_id: field("device_id") }
}

/// What a reader's syncs say of all their rooms.
async fn syncs(server: &TestServer, reader: &TestUser, since: &[String]) -> Vec<(String, Answer)> {
    let filters = [
        r#"{"room":{"include_leave":true,"timeline":{"limit":100}}}"#,
        r#"{"room":{"include_leave":true,"timeline":{"limit":3},"state":{"lazy_load_members":true}}}"#,
    ];
    let mut answers = Vec::new();
    for filter in filters {
        let whole = format!("{CLIENT}/sync?filter={}", query(filter));
        let mut asked = vec![whole.clone(), format!("{whole}&use_state_after=true")];
        asked.extend(since.iter().map(|since| format!("{whole}&since={since}")));
        asked.extend(since.iter().map(|since| format!("{whole}&since={since}&full_state=true")));
        for question in asked {
            let answer = server.get(&question, &reader.token).await;
            answer.ok();
            answers.push((question, answer));
        }
    }
    for question in ["notifications", "initialSync?limit=100", "initialSync?limit=100&archived=true"] {
        answers.push((question.to_owned(), server.get(&format!("{CLIENT}/{question}"), &reader.token).await));
    }
    for token in since {
        let question = format!("{CLIENT}/events?timeout=0&from={token}");
        answers.push((question.clone(), server.get(&question, &reader.token).await));
    }
    answers
}

/// Searches for every kind of message, each with what surrounds the results.
async fn searches(server: &TestServer, reader: &TestUser) -> Vec<(String, Answer)> {
    let mut answers = Vec::new();
    for term in ["plain", "edit", "reply", "reference", "reason", "victim"] {
        for order in ["recent", "rank"] {
            let body = json!({ "search_categories": { "room_events": {
                "search_term": term, "order_by": order, "include_state": true, "filter": { "limit": 100 },
                "event_context": { "before_limit": 20, "after_limit": 20, "include_profile": true },
            } } });
            let answer = server.post(&format!("{CLIENT}/search"), &reader.token, body).await;
            answers.push((format!("search for {term}"), answer));
        }
    }
    answers
}

/// Sliding syncs of all rooms: of lists, and of subscriptions to rooms that the reader may not be in.
async fn sliding_syncs(server: &TestServer, reader: &TestUser, rooms: &[&Scene<'_>]) -> Vec<(String, Answer)> {
    let path = format!("{UNSTABLE}/org.matrix.simplified_msc3575/sync?timeout=0");
    let settings = json!({ "timeline_limit": 100, "required_state": [["*", "*"]] });
    let mut list = settings.clone();
    list["ranges"] = json!([[0, 99]]);
    let subscriptions: serde_json::Map<String, Value> =
        rooms.iter().map(|scene| (scene.room.clone(), settings.clone())).collect();
    let mut answers = Vec::new();
    for (connection, few) in [("whole", 100), ("short", 3)] {
        list["timeline_limit"] = json!(few);
        let mut body = json!({ "conn_id": connection, "lists": { "all": list }, "room_subscriptions": subscriptions });
        body["extensions"] = json!({ "account_data": { "enabled": true }, "receipts": { "enabled": true } });
        let first = server.post(&path, &reader.token, body.clone()).await;
        // Longer timelines than at first.
        body["lists"]["all"]["timeline_limit"] = json!(100);
        let pos = first.ok()["pos"].as_str().unwrap().to_owned();
        let next = server.post(&format!("{path}&pos={pos}"), &reader.token, body).await;
        answers.extend([(format!("sliding sync {few}"), first), (format!("sliding sync {few} with pos"), next)]);
    }
    answers
}

/// What the reader of joined rooms is certain to find.
fn is_not_empty(rooms: &[&Scene<'_>], question: &str, answers: &[(String, Answer)]) {
    let texts: Vec<_> = answers.iter().map(|(_, answer)| String::from_utf8_lossy(&answer.bytes)).collect();
    for scene in rooms.iter().filter(|scene| scene.standing.name == "joined") {
        let last = scene.written.iter().rfind(|written| written.text.contains("-plain-")).expect("a message");
        assert!(texts.iter().any(|text| text.contains(&last.text)), "{question}: {} is missing", last.text);
    }
}

async fn table(server: &TestServer) {
    let alice = server.register("alice").await;
    let readers = join_all(STANDINGS.iter().map(async |standing| match standing.name {
        "guest" => guest(server).await,
        name => server.register(name).await,
    }));
    let readers = readers.await;
    let scenes = STANDINGS.iter().zip(&readers).flat_map(|(standing, reader)| {
        let alice = &alice;
        VISIBILITIES
            .map(async |visibility| Scene::new(server, (alice, reader), standing, visibility).await.play().await)
    });
    let scenes = join_all(scenes).await;
    join_all(scenes.iter().map(Scene::ask)).await;
    join_all(STANDINGS.iter().zip(&readers).map(async |(standing, reader)| {
        let own: Vec<&Scene<'_>> = scenes.iter().filter(|scene| scene.standing.name == standing.name).collect();
        // The tokens of the ends of phases, in the rooms in which these came first and last.
        let mut since: Vec<String> = own.iter().flat_map(|scene| scene.tokens.clone()).collect();
        since.dedup();
        let mut answers = syncs(server, reader, &since).await;
        if standing.name != "guest" {
            for answered in [searches(server, reader).await, sliding_syncs(server, reader, &own).await] {
                is_not_empty(&own, &answered[0].0, &answered);
                answers.extend(answered);
            }
        }
        for (question, answer) in answers {
            assert!(answer.status < 500, "{question}: {answer:?}");
            own.iter().for_each(|scene| scene.nothing_hidden_in(&question, &answer));
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_what_was_not_for_them() {
    let on = |place| TestServer::on(place).config("allow_guest_access: true").start();
    let servers = join_all(plexus_testkit::places().into_iter().map(on)).await;
    join_all(servers.iter().map(table)).await;
}
