//! kill -9 under load, 50 times on each database: what was acknowledged to a client is there afterwards, nothing is
//! there twice, and no one-time key is given out twice.

mod app_services;

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use http::{Method, Request};
use plexus_base::Random;
use plexus_net::http::send_operator_command;
use plexus_store::maintenance::check;
use plexus_testkit::{GatewayConduct, PushGateway, TestPlace, places};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::binary::{Installation, Server};
use crate::client::push_gateways::pusher;

const ROUNDS: u64 = 50;
const SENDERS: usize = 6;

const SETTINGS: &str = "
enable_registration: true
enable_registration_without_verification: true
rc_message: &many {per_second: 10000, burst_count: 100000}
rc_registration: *many
rc_joins: {local: *many, remote: *many}
rc_joins_per_room: *many
";

/// A server that is killed, on a database.
pub(crate) struct Victim {
    installation: Installation,
    settings: PathBuf,
    pub(crate) url: String,
    place: TestPlace,
}

/// The answer to a request; `Err`: the server was killed before it came.
pub(crate) type Response = Result<Value, plexus_net::HttpError>;

impl Victim {
    fn new(place: TestPlace) -> Self {
        Self::with_settings(place, "")
    }

    /// A server with more settings.
    pub(crate) fn with_settings(place: TestPlace, more: &str) -> Self {
        let installation = Installation::new();
        let settings = installation.folder.join("kill.yaml");
        std::fs::write(&settings, format!("{SETTINGS}{more}{}", place.homeserver_yaml())).unwrap();
        let url = format!("http://127.0.0.1:{}/_matrix/client/v3", installation.port);
        Self { installation, settings, url, place }
    }

    pub(crate) fn start(&self) -> Server {
        let mut command = self.installation.command("serve");
        command.arg("--config-path").arg(&self.settings);
        Server::spawn(command, &self.installation.folder)
    }
}

pub(crate) async fn call(method: Method, url: String, token: &str, body: Value) -> Response {
    let request = Request::builder()
        .method(method)
        .uri(&url)
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json")
        .body(Bytes::from(body.to_string()))
        .unwrap();
    let answer = send_operator_command(request).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status.as_u16(), 200, "{url}: {text}");
    Ok(serde_json::from_slice(&answer.body).unwrap())
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

/// Users in one room.
struct Conversation {
    url: String,
    room: String,
    users: Vec<User>,
}

struct User {
    id: String,
    device: String,
    token: String,
}

/// Everything that was acknowledged to clients, over all rounds.
#[derive(Default)]
struct Record {
    /// Message -> event id.
    events: HashMap<String, String>,
    /// Claimed one-time keys.
    keys: Vec<String>,
}

/// The outcome of one request.
enum Report {
    Sent { message: String, event: String },
    Unanswered { sender: usize, message: String },
    Claimed(String),
}

impl Conversation {
    async fn start(url: &str) -> Self {
        let mut users = Vec::new();
        for number in 0..SENDERS {
            let body = json!({ "username": format!("user{number}"), "password": "secret",
                               "auth": { "type": "m.login.dummy" } });
            let made = call(Method::POST, format!("{url}/register"), "", body).await.unwrap();
            users.push(User {
                id: text(&made["user_id"]),
                device: text(&made["device_id"]),
                token: text(&made["access_token"]),
            });
        }
        let body = json!({ "preset": "public_chat" });
        let made = call(Method::POST, format!("{url}/createRoom"), &users[0].token, body).await.unwrap();
        let room = text(&made["room_id"]);
        for user in &users[1..] {
            call(Method::POST, format!("{url}/join/{room}"), &user.token, json!({})).await.unwrap();
        }
        Self { url: url.to_owned(), room, users }
    }

    fn send(&self, sender: usize, message: &str) -> impl Future<Output = Response> + Send + 'static {
        let url = format!("{}/rooms/{}/send/m.room.message/{message}", self.url, self.room);
        let token = self.users[sender].token.clone();
        let body = json!({ "msgtype": "m.text", "body": message });
        async move { call(Method::PUT, url, &token, body).await }
    }

    /// Everybody sends one message after the other, and two claim one-time keys, until the server dies.
    fn load(self: &std::sync::Arc<Self>, round: u64, reports: &mpsc::UnboundedSender<Report>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for sender in 0..SENDERS {
            let (this, reports) = (std::sync::Arc::clone(self), reports.clone());
            tasks.spawn(async move {
                for number in 0.. {
                    let message = format!("r{round}s{sender}n{number}");
                    match this.send(sender, &message).await {
                        Ok(response) => {
                            let event = text(&response["event_id"]);
                            reports.send(Report::Sent { message, event }).unwrap();
                        }
                        Err(_) => return reports.send(Report::Unanswered { sender, message }).unwrap(),
                    }
                }
            });
        }
        for claimer in 1..3 {
            let (this, reports) = (std::sync::Arc::clone(self), reports.clone());
            tasks.spawn(async move {
                while let Ok(key) = this.claim(claimer).await {
                    let Some(key) = key else { return };
                    reports.send(Report::Claimed(key)).unwrap();
                }
            });
        }
        tasks
    }

    async fn upload_keys(&self, round: u64) {
        let keys: Value = (0..10)
            .map(|number| (format!("signed_curve25519:r{round}n{number}"), json!({ "key": "abc", "signatures": {} })))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let body = json!({ "one_time_keys": keys });
        call(Method::POST, format!("{}/keys/upload", self.url), &self.users[0].token, body).await.unwrap();
    }

    /// Claims a one-time key of the first user's; `None` when there are none left.
    async fn claim(&self, claimer: usize) -> Result<Option<String>, plexus_net::HttpError> {
        let owner = &self.users[0];
        let body = json!({ "one_time_keys": { &owner.id: { &owner.device: "signed_curve25519" } } });
        let url = format!("{}/keys/claim", self.url);
        let response = call(Method::POST, url, &self.users[claimer].token, body).await?;
        let keys = response["one_time_keys"][&owner.id][&owner.device].as_object();
        Ok(keys.and_then(|keys| keys.keys().next().cloned()))
    }

    /// The newest messages of the room, back to where all of `wanted` were seen: message -> event id.
    async fn history(&self, mut wanted: HashSet<String>) -> HashMap<String, String> {
        let mut found = HashMap::new();
        let mut from = String::new();
        loop {
            let url = format!("{}/rooms/{}/messages?dir=b&limit=100{from}", self.url, self.room);
            let page = call(Method::GET, url, &self.users[0].token, json!({})).await.unwrap();
            let events = page["chunk"].as_array().unwrap();
            for event in events.iter().filter(|event| event["type"] == "m.room.message") {
                let message = text(&event["content"]["body"]);
                wanted.remove(&message);
                let twice = found.insert(message.clone(), text(&event["event_id"]));
                assert_eq!(twice, None, "{message} is there twice");
            }
            let Some(end) = page["end"].as_str() else { return found };
            if wanted.is_empty() || events.is_empty() {
                return found;
            }
            from = format!("&from={end}");
        }
    }
}

/// One life of the server: repeats what was not answered before, then loads it and kills it after `limit` reports.
/// Returns what was not answered this time.
async fn round(
    victim: &Victim,
    conversation: &std::sync::Arc<Conversation>,
    (round, limit): (u64, u64),
    record: &mut Record,
    unanswered: Vec<(usize, String)>,
) -> Vec<(usize, String)> {
    let server = victim.start();
    // Repeated with the same transaction id: whether it was stored before or not, it is there once.
    for (sender, message) in unanswered {
        let response = conversation.send(sender, &message).await.unwrap();
        record.events.insert(message, text(&response["event_id"]));
    }
    conversation.upload_keys(round).await;
    let (reports, mut received) = mpsc::unbounded_channel();
    let tasks = conversation.load(round, &reports);
    drop(reports);
    let mut server = Some(server);
    let mut unanswered = Vec::new();
    let mut count = 0;
    while let Some(report) = received.recv().await {
        match report {
            Report::Sent { message, event } => drop(record.events.insert(message, event)),
            Report::Claimed(key) => record.keys.push(key),
            Report::Unanswered { sender, message } => unanswered.push((sender, message)),
        }
        count += 1;
        if count == limit {
            // Dropping it is SIGKILL.
            drop(server.take());
        }
    }
    tasks.join_all().await;
    assert!(server.is_none(), "the server died by itself");
    unanswered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_to_a_client_is_lost() {
    let random = Random::seeded(4);
    for place in places() {
        let victim = Victim::new(place);
        let backend = victim.place.options().backend();
        let server = victim.start();
        let conversation = std::sync::Arc::new(Conversation::start(&victim.url).await);
        drop(server);
        let mut record = Record::default();
        let mut unanswered = Vec::new();
        for number in 0..ROUNDS {
            let limit = 1 + random.below(60);
            unanswered = round(&victim, &conversation, (number, limit), &mut record, unanswered).await;
        }
        let server = victim.start();
        for (sender, message) in unanswered {
            let response = conversation.send(sender, &message).await.unwrap();
            record.events.insert(message, text(&response["event_id"]));
        }
        let all: HashSet<String> = record.events.keys().cloned().chain(["never".to_owned()]).collect();
        let stored = conversation.history(all).await;
        drop(server);
        for (message, event) in &record.events {
            assert_eq!(stored.get(message), Some(event), "{backend:?}: {message} was acknowledged");
        }
        let distinct: HashSet<&String> = record.keys.iter().collect();
        assert_eq!(distinct.len(), record.keys.len(), "{backend:?}: a one-time key was given out twice");
        assert_eq!(check(victim.place.options()).unwrap(), [], "{backend:?}");
        let (events, keys) = (record.events.len(), record.keys.len());
        let line =
            format!("{backend:?}: {ROUNDS} kills, {events} messages and {keys} one-time keys, none lost or twice\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

/// A gateway fails, the server is killed, and the gateway responds again.
#[tokio::test]
async fn no_notification_is_lost() {
    for place in places() {
        let victim = Victim::with_settings(place, "ip_range_whitelist: ['127.0.0.0/8']\n");
        let gateway = PushGateway::start().await;
        let server = victim.start();
        let conversation = Conversation::start(&victim.url).await;
        let pusher = pusher(&gateway, "key");
        let url = format!("{}/pushers/set", victim.url);
        call(Method::POST, url, &conversation.users[1].token, pusher).await.unwrap();
        gateway.conduct(GatewayConduct::Respond(500));
        let mut sent = Vec::new();
        for number in 0..30 {
            let response = conversation.send(0, &format!("m{number}")).await.unwrap();
            sent.push(text(&response["event_id"]));
        }
        drop(server);
        gateway.conduct(GatewayConduct::Accept);
        let server = victim.start();
        for event in sent {
            assert_eq!(gateway.next().await["event_id"], event);
        }
        drop(server);
    }
}
