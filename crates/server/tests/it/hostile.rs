//! A server that lies: what it sends is answered as the specification says or dropped, nobody is shown it, and the room
//! stays usable for everybody else.

mod answers;
mod bodies;
mod connections;
mod events;
mod headers;
mod heads;
mod http2;
mod joins;
mod json_text;
mod keys;
mod largest;
mod limits;
mod media;
mod membership;
mod nul;
mod outgoing;
mod pushers;
mod redactions;
mod refusals;
mod stored;
mod strange;
mod templates;
mod transactions;
mod unread;
mod values;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures_util::future::join_all;
use http::StatusCode;
use parking_lot::Mutex;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::event::{Pdu, hash, redact};
use plexus_protocol::json::Object;
use plexus_protocol::rules::{EventIdFormat, RoomVersion};
use plexus_testkit::{Answer, Peer, TestPlace, TestServer, TestUser, unique_name};
use serde_json::{Value, json};

use crate::client::say;
use crate::federation;
use crate::federation::away::{Away, CLIENT, synced};

/// How long anything may take that the lies must not stop.
const BOUND: Duration = Duration::from_secs(30);

/// No address of another server is refused, and no server is slowed down by its number of requests.
const MANY: &str = "rc_federation: {window_size: 1000, sleep_limit: 100000, sleep_delay: 1, reject_limit: 100000, \
                    concurrent: 1000}\n";

/// What a liar answers to a request, if not 404.
type Answering = Box<dyn FnMut(&str) -> Option<Response> + Send>;

/// The server that lies.
struct Liar {
    peer: Peer,
    mallory: String,
    answers: Arc<Mutex<Option<Answering>>>,
}

impl Liar {
    async fn start() -> Self {
        let answers: Arc<Mutex<Option<Answering>>> = Arc::default();
        let current = Arc::clone(&answers);
        let answer = async move |request: Request<Body>| -> Response {
            let uri = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            let mut answers = current.lock();
            let nothing = || (StatusCode::NOT_FOUND, r#"{"errcode":"M_NOT_FOUND","error":""}"#).into_response();
            answers.as_mut().and_then(|answer| answer(&uri)).unwrap_or_else(nothing)
        };
        let peer = Peer::answering(|_| Router::new().route("/_matrix/federation/{*rest}", any(answer))).await;
        Self { mallory: peer.user("mallory"), peer, answers }
    }

    /// From now on it responds with what `answer` returns.
    fn answers(&self, answer: impl FnMut(&str) -> Option<Response> + Send + 'static) {
        *self.answers.lock() = Some(Box::new(answer));
    }

    /// How often it was asked for something whose path contains `part`.
    fn asked(&self, part: &str) -> usize {
        self.peer.received().iter().filter(|request| request.uri.contains(part)).count()
    }
}

/// A room of Alice's, in which the liar and an honest server are.
struct Stage {
    server: TestServer,
    alice: TestUser,
    room: String,
    version: RoomVersion,
    liar: Liar,
    honest: Away,
}

impl Stage {
    /// One on each database.
    async fn on_each(version: &str) -> Vec<Self> {
        join_all(plexus_testkit::places().into_iter().map(|place| Self::on(place, version, ""))).await
    }

    async fn on(place: TestPlace, version: &str, config: &str) -> Self {
        let (liar, honest) = (Liar::start().await, Away::start().await);
        Self::between(liar, honest, place, version, config).await
    }

    /// A server that speaks with these two only: no other name is looked up.
    async fn closed(place: TestPlace) -> Self {
        let (liar, honest) = (Liar::start().await, Away::start().await);
        let names = format!("federation_domain_whitelist: ['{}', '{}']\n", liar.peer.name(), honest.peer.name());
        Self::between(liar, honest, place, "11", &names).await
    }

    async fn between(liar: Liar, honest: Away, place: TestPlace, version: &str, config: &str) -> Self {
        let server = TestServer::on(place).config(MANY).config(config).start().await;
        let alice = server.register("alice").await;
        let room = federation::public_room(&server, &alice, version).await;
        federation::join(&server, &honest.peer, &room, &honest.bob).await;
        federation::join(&server, &liar.peer, &room, &liar.mallory).await;
        Self { version: version.parse().unwrap(), server, alice, room, liar, honest }
    }

    /// The newest event of the timeline.
    async fn newest(&self) -> String {
        let path = format!("{CLIENT}/rooms/{}/messages?dir=b&limit=1", self.room);
        self.server.get(&path, &self.alice.token).await.ok()["chunk"][0]["event_id"].as_str().unwrap().to_owned()
    }

    async fn state(&self) -> Vec<Value> {
        let path = format!("{CLIENT}/rooms/{}/state", self.room);
        self.server.get(&path, &self.alice.token).await.ok().as_array().unwrap().clone()
    }

    /// What allows a user to say something, and what comes before it.
    async fn template(&self, user: &str) -> Value {
        let state = self.state().await;
        let named = |event_type: &str, key: &str| {
            let mut events = state.iter();
            let found = events.find(|event| event["type"] == event_type && event["state_key"] == key)?;
            Some(found["event_id"].as_str()?.to_owned())
        };
        let create = named("m.room.create", "").filter(|_| !self.version.rules().create_event_is_room_id);
        let auth = [create, named("m.room.power_levels", ""), named("m.room.member", user)];
        let auth: Vec<String> = auth.into_iter().flatten().collect();
        json!({
            "type": "m.room.message", "sender": user, "room_id": self.room, "depth": 50,
            "origin_server_ts": 1_700_000_000_000_u64,
            "content": { "msgtype": "m.text", "body": unique_name() },
            "prev_events": self.references(&[self.newest().await]), "auth_events": self.references(&auth),
        })
    }

    /// References to events as the room's version writes them.
    fn references(&self, ids: &[String]) -> Value {
        let pairs = self.version.rules().event_id_format == EventIdFormat::Server;
        ids.iter().map(|id| if pairs { json!([id, {}]) } else { json!(id) }).collect()
    }

    /// A message of Mallory's with `change` made to it before it is signed.
    async fn lie(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut event = self.template(&self.liar.mallory).await;
        change(&mut event);
        forge(event, self.version, &self.liar.peer)
    }

    /// The liar sends events in one transaction.
    async fn send(&self, pdus: &[Value]) -> Answer {
        let body = json!({ "origin": self.liar.peer.name().as_str(), "origin_server_ts": 1, "pdus": pdus });
        self.liar.peer.put(&self.server, &format!("/_matrix/federation/v1/send/{}", unique_name()), body).await
    }

    /// The bodies of the messages that Alice sees, oldest first.
    async fn bodies(&self) -> Vec<String> {
        let path = format!("{CLIENT}/rooms/{}/messages?dir=b&limit=100", self.room);
        let mut seen: Vec<String> = self.server.get(&path, &self.alice.token).await.ok()["chunk"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["type"] == "m.room.message")
            .map(|event| event["content"]["body"].as_str().unwrap_or_default().to_owned())
            .collect();
        seen.reverse();
        seen
    }

    /// Sends one of `from`'s messages, and waits until Alice sees it.
    async fn sees(&self, from: &Peer, user: &str) {
        let event = forge(self.template(user).await, self.version, from);
        let since = self.server.get(&format!("{CLIENT}/sync"), &self.alice.token).await.ok()["next_batch"].clone();
        let body = json!({ "origin": from.name().as_str(), "origin_server_ts": 1, "pdus": [event] });
        let sent = from.put(&self.server, &format!("/_matrix/federation/v1/send/{}", unique_name()), body).await;
        let id = id_of(&event, self.version);
        assert_eq!(sent.ok()["pdus"][&id], json!({}));
        let there = |answer: &Value| {
            let timeline = answer["rooms"]["join"][&self.room]["timeline"]["events"].as_array();
            timeline.is_some_and(|events| events.iter().any(|event| event["event_id"] == id.as_str()))
        };
        let seen = synced(&self.server, &self.alice, since.as_str().unwrap(), there);
        plexus_testkit::within(BOUND, seen).await.expect("a good message must come through");
    }

    /// Waits until everything that the liar has sent so far has been judged.
    async fn judged(&self) {
        self.sees(&self.liar.peer, &self.liar.mallory).await;
    }

    /// The room works for those who do not lie: the honest server is heard, and hears Alice.
    async fn is_usable(&self) {
        self.sees(&self.honest.peer, &self.honest.bob).await;
        let text = unique_name();
        say(&self.server, &self.alice, &self.room, &text).await;
        let heard = self.honest.until(|transactions| federation::away::bodies(transactions).contains(&text));
        plexus_testkit::within(BOUND, heard).await.expect("the honest server must hear of it");
    }
}

/// Signs an event whatever it says.
fn forge(event: Value, version: RoomVersion, by: &Peer) -> Value {
    signed_by(event, version, by.key(), by.name().as_str())
}

fn signed_by(event: Value, version: RoomVersion, key: &SigningKey, name: &str) -> Value {
    let mut event = Object::parse(&event.to_string()).expect("an object");
    if version.rules().event_id_format == EventIdFormat::Server && !event.contains_key("event_id") {
        event.insert("event_id", format!("${}:{name}", unique_name()));
    }
    let content_hash = STANDARD_NO_PAD.encode(hash::content_hash(&event.to_json()));
    event.insert("hashes", Object::from([("sha256", content_hash)]));
    let mut redacted = redact::redact_object(&event, version.rules());
    redacted.remove("unsigned");
    let signature = key.sign(redacted.to_json().as_bytes());
    let signature = Object::from([(key.key_id(), signature)]);
    event.insert("signatures", Object::from([(name, signature)]));
    serde_json::from_str(&event.to_json()).expect("JSON")
}

/// The id that the server gives an event.
fn id_of(event: &Value, version: RoomVersion) -> String {
    Pdu::parse(&event.to_string(), version).expect("an event").event_id().as_str().to_owned()
}
