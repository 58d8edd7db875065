//! Responses against the specification's schemas: every served endpoint is used as it is meant to be, and whatever it
//! answers must be what the specification describes.

mod accounts;
mod federation;
mod keys;
mod media;
mod people;
mod reading;
mod rooms;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;
use parking_lot::Mutex;
use plexus_testkit::{Answer, AppServiceStub, Specification, TestPlace, TestServer, TestUser, places};
use serde_json::{Value, json};

const C: &str = "/_matrix/client/v3";

/// Endpoints that did not succeed in these tests: they are not served, or need something that is not there (mail).
const NOT_EXERCISED: &str = include_str!("../data/client-server-unexercised.tsv");

/// The same for the server-server API.
const NOT_EXERCISED_BETWEEN_SERVERS: &str = include_str!("../data/server-server-unexercised.tsv");

/// Where an answer may differ from the specification's schema: the endpoint, how the problem begins, and why.
const EXCEPTIONS: [(&str, &str, &str); 5] = [
    ("GET /_matrix/federation/v1/make_join/{roomId}/{userId}", "/event/origin: missing", NO_ORIGIN),
    ("GET /_matrix/federation/v1/make_knock/{roomId}/{userId}", "/event/origin: missing", NO_ORIGIN),
    ("GET /_matrix/federation/v1/make_leave/{roomId}/{userId}", "/event/origin: missing", NO_ORIGIN),
    ("PUT /_matrix/federation/v2/invite/{roomId}/{eventId}", "/event/origin: missing", NO_ORIGIN),
    ("PUT /_matrix/federation/v1/invite/{roomId}/{eventId}", "/1: ", NO_ORIGIN),
];

const NO_ORIGIN: &str =
    "events have no `origin` in any room version's format; nobody reads it, and Synapse leaves it out";

/// What is wrong with the answers so far, and which endpoints succeeded.
#[derive(Default)]
struct Findings {
    problems: BTreeMap<String, String>,
    succeeded: BTreeSet<String>,
}

/// A server whose answers are all compared with the specification, its administrator, and two users in a room.
struct Stage {
    server: TestServer,
    admin: TestUser,
    alice: TestUser,
    bob: TestUser,
    room: String,
    /// Accepts what it gets, and describes a network.
    _service: AppServiceStub,
}

impl Stage {
    async fn on(place: TestPlace, specification: &Arc<Specification>) -> (Self, Arc<Mutex<Findings>>) {
        let config = "room_list_publication_rules: [{action: allow}]\nenable_authenticated_media: false\n\
                      allow_public_rooms_over_federation: true\nserve_server_wellknown: true\n\
                      public_baseurl: https://test.example/\n\
                      refreshable_access_token_lifetime: 1h\nlogin_via_existing_session: {enabled: true}\n\
                      turn_uris: ['turn:turn.example.org']\nturn_shared_secret: secret\n\
                      admin_contact: 'mailto:admin@test.example'\n\
                      policy_server_rules_room: '!rules:test.example'\n\
                      user_directory: {search_all_users: true}\n\
                      url_preview_enabled: true\nurl_preview_ip_range_blacklist: []\n";
        let service = AppServiceStub::start().await;
        let network = json!({
            "user_fields": ["nick"], "location_fields": ["channel"], "icon": "mxc://a/b", "field_types": {},
            "instances": [{ "network_id": "libera", "desc": "Libera", "fields": {} }],
        });
        service.respond(move |request| {
            let body = if request.path.ends_with("/protocol/irc") { network.clone() } else { json!({}) };
            (200, body)
        });
        let registration = service.registration("irc", "protocols: [irc]");
        let mut server = TestServer::on(place).config(config).app_service(registration).start().await;
        let admin = server.register("admin").await;
        crate::client::admin::make_admin(&mut server, &admin).await;
        let findings: Arc<Mutex<Findings>> = Arc::default();
        let (seen, specification) = (Arc::clone(&findings), Arc::clone(specification));
        server.inspect(Arc::new(move |method, path, answer| {
            let mut findings = seen.lock();
            findings.add(&specification, method, path, answer);
        }));
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let body = json!({ "preset": "public_chat", "name": "Room", "topic": "All of it", "visibility": "public" });
        let room = server.post(&format!("{C}/createRoom"), &alice.token, body).await;
        let room = room.ok()["room_id"].as_str().expect("a room id").to_owned();
        let stage = Self { server, admin, alice, bob, room, _service: service };
        stage.server.post(&stage.in_room("join"), &stage.bob.token, json!({})).await.ok();
        (stage, findings)
    }

    /// The path of something in the room.
    fn in_room(&self, rest: &str) -> String {
        format!("{C}/rooms/{}/{rest}", self.room)
    }

    /// GETs as Alice, successfully.
    async fn get(&self, path: &str) -> Value {
        self.server.get(path, &self.alice.token).await.ok().clone()
    }

    /// POSTs as Alice, successfully.
    async fn post(&self, path: &str, body: Value) -> Value {
        self.server.post(path, &self.alice.token, body).await.ok().clone()
    }

    /// PUTs as Alice, successfully.
    async fn put(&self, path: &str, body: Value) -> Value {
        self.server.put(path, &self.alice.token, body).await.ok().clone()
    }

    /// DELETEs as Alice, successfully.
    async fn delete(&self, path: &str) -> Value {
        self.server.delete(path, &self.alice.token).await.ok().clone()
    }

    /// POSTs without a token.
    async fn post_openly(&self, path: &str, body: Value) -> Answer {
        self.server.request(Method::POST, path, None, Some(body)).await
    }

    /// Sends a message of Alice's; returns its event id.
    async fn say(&self, content: Value) -> String {
        let transaction = plexus_testkit::unique_name();
        let sent = self.put(&self.in_room(&format!("send/m.room.message/{transaction}")), content).await;
        sent["event_id"].as_str().expect("an event id").to_owned()
    }

    /// Syncs as Alice; returns the answer.
    async fn sync(&self, query: &str) -> Value {
        self.get(&format!("{C}/sync{query}")).await
    }
}

impl Findings {
    fn add(&mut self, specification: &Specification, method: &Method, path: &str, answer: &Answer) {
        let Some(endpoint) = specification.endpoint(method.as_str(), path) else { return };
        if answer.status < 400 {
            self.succeeded.insert(endpoint.clone());
        }
        let body = serde_json::from_slice::<Value>(&answer.bytes).ok();
        for problem in specification.problems(method.as_str(), path, answer.status, body.as_ref()) {
            let excepted = EXCEPTIONS.iter().any(|(of, start, _)| *of == endpoint && problem.starts_with(start));
            if !excepted {
                let text = format!("{endpoint}: {} {problem}", answer.status);
                self.problems.entry(text).or_insert_with(|| format!("{path} {}", answer.body));
            }
        }
    }

    /// Fails when an answer was wrong, or an endpoint has not succeeded that is not in `list`, or has that is in it.
    fn assert_complete(&self, specification: &Specification, list: &str) {
        assert!(self.problems.is_empty(), "{} wrong answers: {:#?}", self.problems.len(), self.problems);
        let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let listed: BTreeSet<String> = lines.map(|line| line.replacen('\t', " ", 1)).collect();
        let missing: BTreeSet<String> = specification.endpoints().filter(|it| !self.succeeded.contains(it)).collect();
        let unlisted: Vec<_> = missing.difference(&listed).collect();
        assert!(unlisted.is_empty(), "not used, or never successfully: {unlisted:#?}");
        let stale: Vec<_> = listed.difference(&missing).collect();
        assert!(stale.is_empty(), "used by now, or never specified; take it off the list: {stale:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_get_the_answers_that_are_specified() {
    let specification = Arc::new(Specification::read("client-server"));
    for place in places() {
        let (stage, findings) = Stage::on(place, &specification).await;
        accounts::use_all(&stage).await;
        people::use_all(&stage).await;
        rooms::use_all(&stage).await;
        reading::use_all(&stage).await;
        keys::use_all(&stage).await;
        media::use_all(&stage).await;
        accounts::leave(&stage).await;
        let findings = findings.lock();
        findings.assert_complete(&specification, NOT_EXERCISED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_get_the_answers_that_are_specified() {
    let specification = Arc::new(Specification::read("server-server"));
    for place in places() {
        let (stage, findings) = Stage::on(place, &specification).await;
        federation::use_all(&stage).await;
        let findings = findings.lock();
        findings.assert_complete(&specification, NOT_EXERCISED_BETWEEN_SERVERS);
    }
}

#[test]
fn wrong_answers_are_noticed() {
    let specification = Specification::read("client-server");
    let problems = |path: &str, status: u16, body: Value| {
        specification.problems("GET", &format!("{C}/{path}"), status, Some(&body)).join("; ")
    };
    assert_eq!(problems("account/whoami", 200, json!({ "user_id": "@a:b" })), "");
    assert_eq!(problems("account/whoami", 200, json!({})), "/user_id: missing");
    assert_eq!(problems("account/whoami", 204, json!({})), "the specification has no answer 204");
    assert_eq!(problems("account/whoami", 418, json!({ "error": "x" })), "an error without errcode and error");
    assert_eq!(problems("account/whoami", 418, json!({ "errcode": "M_UNKNOWN", "error": "x" })), "");
    assert_eq!(problems("nowhere", 200, json!({})), "no such endpoint in the specification");
    // In a file that another one refers to, in an array.
    let device = json!({ "device_id": "A", "display_name": null });
    let null = "/devices/0/display_name: null instead of \"string\"";
    assert_eq!(problems("devices", 200, json!({ "devices": [device] })), null);
    // Of two schemas together, by a pattern of names.
    let body = json!({ "joined": { "@a:b": { "display_name": 1 } } });
    let number = "/joined/@a:b/display_name: number instead of \"string\"";
    assert_eq!(problems("rooms/!a:b/joined_members", 200, body), number);
    let sync = json!({ "next_batch": "s1", "rooms": { "join": { "!a:b": { "timeline": { "events": [{}] } } } } });
    assert!(problems("sync", 200, sync).contains("/rooms/join/!a:b/timeline/events/0/event_id: missing"));
}
