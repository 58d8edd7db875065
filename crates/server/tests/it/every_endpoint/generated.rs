//! Random requests, made from the specification's descriptions: none is answered by a server error, and whatever is
//! answered is what the specification describes. Endpoints that it does not describe get any JSON.

use std::collections::BTreeSet;
use std::path::Path;

use plexus_base::Random;
use plexus_testkit::specification::{GeneratedRequest, Values, random_json};
use plexus_testkit::{Specification, TestPlace};
use serde_json::Value;

use super::*;

/// The seeds of the runs in every test run. Another seed can be given by `PLEXUS_GENERATED_SEED`.
const SEEDS: [u64; 2] = [1, 2];
/// So many requests to each endpoint in a run.
const REQUESTS_PER_ENDPOINT: usize = 4;
/// At least so many endpoints of the specification accept one of their requests in a run: otherwise there is no telling
/// whether their successful responses are as described.
const MIN_ACCEPTING_ENDPOINTS: usize = 45;
/// To those that have the most to choose from.
const REQUESTS_PER_SLIDING_SYNC: usize = 60;

/// Who asks, and of what.
struct Asker {
    user: TestUser,
    room: String,
    event: String,
}

impl Asker {
    async fn new(server: &TestServer) -> Self {
        let user = server.register(&plexus_testkit::unique_name()).await;
        let room = server.post("/_matrix/client/v3/createRoom", &user.token, json!({ "preset": "public_chat" })).await;
        let room = room.ok()["room_id"].as_str().unwrap().to_owned();
        let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/1");
        let sent = server.put(&path, &user.token, json!({ "msgtype": "m.text", "body": "x" })).await;
        let event = sent.ok()["event_id"].as_str().unwrap().to_owned();
        Self { user, room, event }
    }

    /// Whether the session is still there.
    async fn is_logged_in(&self, server: &TestServer) -> bool {
        server.get("/_matrix/client/v3/account/whoami", &self.user.token).await.status == 200
    }
}

impl Values for Asker {
    fn known(&self, name: &str) -> Option<Value> {
        let text = match name {
            "userId" | "user_id" | "user" | "mxid" | "userid" => self.user.id.clone(),
            "roomId" | "room_id" | "roomIdOrAlias" | "rooms" => self.room.clone(),
            "eventId" | "event_id" | "root_event_id" | "m.fully_read" | "m.read" => self.event.clone(),
            "deviceId" | "device_id" => self.user.device_id.clone(),
            "roomAlias" => format!("#{}:test.example", plexus_testkit::unique_name()),
            "serverName" | "server_name" | "via" | "server" | "id_server" => "test.example".to_owned(),
            "receiptType" => "m.read".to_owned(),
            "filterId" | "version" => "1".to_owned(),
            "txnId" | "mediaId" => plexus_testkit::unique_name(),
            "room_version" | "new_version" => "11".to_owned(),
            "keyName" => "displayname".to_owned(),
            // Nobody waits.
            "timeout" | "timeout_ms" => return Some(json!(0)),
            _ => return None,
        };
        Some(json!(text))
    }
}

/// A server that is asked, and what was wrong with its answers.
struct Examiner {
    server: TestServer,
    random: Random,
    asker: Asker,
    requests: usize,
    /// The endpoints of the specification that accepted a request, by their place in it.
    accepting: BTreeSet<usize>,
    wrong: BTreeSet<String>,
}

impl Examiner {
    async fn new(place: TestPlace, seed: u64) -> Self {
        // Names of servers that nobody has are not looked up. Without a TURN server there is nothing to describe.
        let config =
            "federation_domain_whitelist: []\nturn_uris: ['turn:turn.example.org']\nturn_shared_secret: secret";
        let server = TestServer::on(place).config(config).start().await;
        let asker = Asker::new(&server).await;
        Self {
            server,
            random: Random::seeded(seed),
            asker,
            requests: 0,
            accepting: BTreeSet::new(),
            wrong: BTreeSet::new(),
        }
    }

    /// Sends requests to all endpoints that are described, some to each.
    async fn ask_described(&mut self, described: &Specification, times: usize) {
        for _ in 0..times {
            let requests: Vec<GeneratedRequest> = described.random_requests(&self.random, &self.asker).collect();
            for (endpoint, request) in requests.into_iter().enumerate() {
                if self.ask(Some(described), request).await {
                    self.accepting.insert(endpoint);
                }
            }
            self.asker = Asker::new(&self.server).await;
        }
    }

    /// Sends any JSON to the endpoints whose paths are unstable.
    async fn ask_unstable(&mut self) {
        for _ in 0..REQUESTS_PER_ENDPOINT {
            for (method, path) in endpoints().iter().filter(|(_, path)| path.contains("/unstable/")) {
                let body = random_json(&self.random, &self.asker, 4);
                let body = if body.is_object() { body } else { json!({ "x": body }) };
                let target = filled(path, |name| fitting(name, &self.asker.user, &self.asker.room));
                let target = format!("{target}?timeout=0&delay={}&from={}", body["delay"], body["x"]);
                let target = target.replace(['"', ' ', '{', '}'], "");
                let target = if target.is_ascii() { target } else { target.split('?').next().unwrap().to_owned() };
                let body = body.to_string().into_bytes();
                self.ask(None, GeneratedRequest { method: method.to_string(), target, body }).await;
            }
        }
    }

    /// Sends a request. Returns whether it is accepted.
    async fn ask(&mut self, described: Option<&Specification>, request: GeneratedRequest) -> bool {
        let GeneratedRequest { method, target, body } = request;
        let shown = format!("{method} {target} {}", String::from_utf8_lossy(&body));
        let verb = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = self.server.send(verb, &target, Some(&self.asker.user.token), &[], body.into()).await;
        self.requests += 1;
        if answer.status >= 500 || (answer.status >= 400 && !answer.body.is_object()) {
            self.wrong.insert(format!("{shown}: {answer:?}"));
        }
        // What is not served is another test's matter.
        let is_served = answer.body["errcode"] != "M_UNRECOGNIZED";
        if let Some(described) = described.filter(|_| is_served) {
            let body = serde_json::from_slice::<Value>(&answer.bytes).ok();
            let problems = described.problems(&method, &target, answer.status, body.as_ref());
            for problem in problems {
                self.wrong.insert(format!("{shown}: {} {problem}: {}", answer.status, answer.body));
            }
        }
        if answer.status == 200 && !self.asker.is_logged_in(&self.server).await {
            self.asker = Asker::new(&self.server).await;
        }
        answer.status == 200
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_requests_are_answered_as_described() {
    let specification = Specification::read("client-server");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let sliding_sync = Specification::read_file(&data.join("sliding-sync.yaml"));
    let given = std::env::var("PLEXUS_GENERATED_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = given.map_or(SEEDS.to_vec(), |seed| vec![seed]);
    for seed in seeds {
        for place in plexus_testkit::places() {
            let mut examiner = Examiner::new(place, seed).await;
            examiner.ask_described(&specification, REQUESTS_PER_ENDPOINT).await;
            let accepting = examiner.accepting.len();
            assert!(accepting >= MIN_ACCEPTING_ENDPOINTS, "only {accepting} endpoints accepted anything");
            examiner.ask_described(&sliding_sync, REQUESTS_PER_SLIDING_SYNC).await;
            examiner.ask_unstable().await;
            let Examiner { requests, wrong, .. } = examiner;
            assert!(wrong.is_empty(), "seed {seed}: {} wrong answers of {requests}: {wrong:#?}", wrong.len());
            assert!(requests > 800, "only {requests} requests");
        }
    }
}
