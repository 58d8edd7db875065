//! Rooms whose events a policy server has to recommend.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use parking_lot::Mutex;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::build::PduBuilder;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::EventId;
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{Peer, every, unique_name, within};
use serde_json::{Value, json};

use crate::client::{on_each_with, room_path, say};
use crate::federation::{join, json_of, path, pdus, public_room, set};

pub(super) const VERSION: RoomVersion = RoomVersion::V11;

fn policy_key() -> SigningKey {
    SigningKey::generate(&[5; 32], "policy_server")
}

fn recommendation(pdu: &Pdu, server: &str) -> Value {
    json!({ server: { "ed25519:policy_server": policy_key().sign(pdu.signable_json().as_bytes()) } })
}

/// A server that recommends everything but what is spam.
async fn policy_server() -> Peer {
    Peer::answering(|name| {
        let name = name.to_string();
        let sign = async move |event: Bytes| {
            let pdu = Pdu::parse(std::str::from_utf8(&event).expect("text"), VERSION).expect("an event");
            match pdu.content().get_str("body") {
                Some(body) if body.contains("spam") => {
                    (StatusCode::BAD_REQUEST, json!({ "errcode": "M_FORBIDDEN", "error": "No spam" }).to_string())
                }
                Some("forged") => (StatusCode::OK, recommendation(&pdu, "else.example").to_string()),
                _ => (StatusCode::OK, recommendation(&pdu, &name).to_string()),
            }
        };
        Router::new().route("/_matrix/policy/v1/sign", post(sign))
    })
    .await
}

/// How often it was asked.
fn asked(peer: &Peer) -> usize {
    peer.received().iter().filter(|request| request.uri == "/_matrix/policy/v1/sign").count()
}

async fn try_say(server: &TestServer, alice: &TestUser, room: &str, text: &str, txn: &str) -> Answer {
    let content = json!({ "msgtype": "m.text", "body": text });
    server.put(&room_path(room, &format!("send/m.room.message/{txn}")), &alice.token, content).await
}

/// A message of the peer's user, who came into the room by `join`.
pub(super) fn message(peer: &Peer, room: &str, (answer, join): &(Answer, Pdu), text: &str) -> Pdu {
    let auth = |wanted: &&Pdu| wanted.is_state("m.room.create", "") || wanted.is_state("m.room.power_levels", "");
    let state = pdus(answer, "state", VERSION);
    let mut auth_events: Vec<EventId> = state.iter().filter(auth).map(|pdu| pdu.event_id().clone()).collect();
    auth_events.push(join.event_id().clone());
    let builder = PduBuilder {
        room_id: Some(room.try_into().expect("a room id")),
        sender: peer.user("bob").as_str().try_into().expect("a user id"),
        event_type: "m.room.message".to_owned(),
        state_key: None,
        content: Object::from([("msgtype", "m.text"), ("body", text)]),
        unsigned: None,
        redacts: None,
        prev_events: vec![join.event_id().clone()],
        auth_events,
        depth: join.depth() + 1,
        origin_server_ts: 1_700_000_000_000,
    };
    builder.build(VERSION, peer.key(), peer.name()).expect("an event")
}

pub(super) async fn send(server: &TestServer, peer: &Peer, pdus: &[Value]) {
    let body = json!({ "origin": peer.name().as_str(), "origin_server_ts": 1, "pdus": pdus });
    peer.put(server, &path("v1/send", &[&unique_name()]), body).await.ok();
}

/// Syncs until there is a message with that text. Returns all that came meanwhile.
pub(super) async fn until(server: &TestServer, alice: &TestUser, room: &str, text: &str) -> Vec<String> {
    let (mut seen, mut since) = (Vec::new(), String::new());
    while !seen.iter().any(|one| one == text) {
        let answer = server.get(&format!("/_matrix/client/v3/sync?timeout=30000{since}"), &alice.token).await;
        let timeline = answer.ok()["rooms"]["join"][room]["timeline"]["events"].as_array().cloned().unwrap_or_default();
        seen.extend(timeline.iter().filter_map(|event| Some(event["content"]["body"].as_str()?.to_owned())));
        since = format!("&since={}", answer.body["next_batch"].as_str().unwrap_or_default());
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_recommended_or_not_sent() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (policy_server().await, server.register("alice").await);
        let room = public_room(&server, &alice, VERSION.as_str()).await;
        let policy = json!({
            "via": peer.name().as_str(), "public_keys": { "ed25519": policy_key().public_key_base64() },
        });
        set(&server, &alice, &room, "m.room.policy", policy).await;
        say(&server, &alice, &room, "none of its users is in the room").await;
        assert_eq!(asked(&peer), 0);
        join(&server, &peer, &room, &peer.user("bob")).await;
        // Its own join came without a recommendation.
        assert_eq!(asked(&peer), 0);

        let sent = try_say(&server, &alice, &room, "hello", "t1").await;
        let id = sent.ok()["event_id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(asked(&peer), 1);
        let event = peer.get(&server, &path("v1/event", &[&id])).await;
        let signatures = &event.ok()["pdus"][0]["signatures"];
        assert!(signatures[peer.name().as_str()]["ed25519:policy_server"].is_string(), "{signatures}");
        assert!(signatures["test.example"].is_object(), "{signatures}");
        assert_eq!(try_say(&server, &alice, &room, "hello", "t1").await.ok()["event_id"], id.as_str(), "repeated");
        assert_eq!(asked(&peer), 1);

        let refused = try_say(&server, &alice, &room, "spam", "t2").await;
        assert_eq!((refused.refusal(), &refused.body["error"]), ((400, "M_FORBIDDEN"), &json!("No spam")));
        assert_eq!(try_say(&server, &alice, &room, "forged", "t3").await.refusal(), (502, "M_UNKNOWN"));
        set(&server, &alice, &room, "m.room.topic", json!({ "topic": "state, too" })).await;
        assert_eq!(asked(&peer), 4);
        let seen = until(&server, &alice, &room, "hello").await;
        assert!(!seen.iter().any(|text| text == "spam" || text == "forged"), "{seen:?}");

        set(&server, &alice, &room, "m.room.policy", json!({})).await;
        say(&server, &alice, &room, "spam, which nobody looks at any more").await;
        assert_eq!(asked(&peer), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn received_events_are_recommended_or_not_shown() {
    for server in TestServer::on_each().await {
        let (judge, peer, alice) = (policy_server().await, Peer::start().await, server.register("alice").await);
        let room = public_room(&server, &alice, VERSION.as_str()).await;
        join(&server, &judge, &room, &judge.user("carol")).await;
        let joined = join(&server, &peer, &room, &peer.user("bob")).await;
        let policy = json!({
            "via": judge.name().as_str(), "public_keys": { "ed25519": policy_key().public_key_base64() },
        });
        set(&server, &alice, &room, "m.room.policy", policy).await;

        let event = |text: &str| message(&peer, &room, &joined, text);
        let mut signed = json_of(&event("recommended"));
        let recommended = recommendation(&event("recommended"), judge.name().as_str());
        signed["signatures"][judge.name().as_str()] = recommended[judge.name().as_str()].clone();
        send(&server, &peer, &[json_of(&event("a spam of Bob's")), signed]).await;
        assert_eq!(until(&server, &alice, &room, "recommended").await, ["recommended"]);
        send(&server, &peer, &[json_of(&event("asked about"))]).await;
        assert_eq!(until(&server, &alice, &room, "asked about").await, ["recommended", "asked about"]);
        assert_eq!(asked(&judge), 2, "what is recommended already is not asked about");
    }
}

/// A server that recommends everything but redactions of one event, which the test names.
async fn protector(protected: Arc<Mutex<String>>) -> Peer {
    Peer::answering(move |name| {
        let name = name.to_string();
        let sign = async move |event: Bytes| {
            let pdu = Pdu::parse(std::str::from_utf8(&event).expect("text"), VERSION).expect("an event");
            if pdu.content().get_str("redacts") == Some(protected.lock().as_str()) {
                let refusal = json!({ "errcode": "M_FORBIDDEN", "error": "It stays" });
                return (StatusCode::BAD_REQUEST, refusal.to_string());
            }
            (StatusCode::OK, recommendation(&pdu, &name).to_string())
        };
        Router::new().route("/_matrix/policy/v1/sign", post(sign))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_redaction_of_a_related_event_leaves_the_others_to_be_redacted() {
    for server in on_each_with("experimental_features: {msc3912_enabled: true}").await {
        let protected = Arc::new(Mutex::new(String::new()));
        let (peer, alice) = (protector(Arc::clone(&protected)).await, server.register("alice").await);
        let room = public_room(&server, &alice, VERSION.as_str()).await;
        join(&server, &peer, &room, &peer.user("bob")).await;
        let policy = json!({
            "via": peer.name().as_str(), "public_keys": { "ed25519": policy_key().public_key_base64() },
        });
        set(&server, &alice, &room, "m.room.policy", policy).await;
        let root = say(&server, &alice, &room, "root").await;
        let mut replies = Vec::new();
        for txn in ["r1", "r2", "r3"] {
            let thread = json!({ "rel_type": "m.thread", "event_id": root });
            let reply = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": thread });
            let sent = server.put(&room_path(&room, &format!("send/m.room.message/{txn}")), &alice.token, reply).await;
            replies.push(sent.ok()["event_id"].as_str().expect("an id").to_owned());
        }
        // The newest, which comes first.
        protected.lock().clone_from(&replies[2]);
        let path = room_path(&room, &format!("redact/{root}/1"));
        let body = json!({ "org.matrix.msc3912.with_relations": ["m.thread"] });
        server.put(&path, &alice.token, body).await.ok();
        let redacted = async |id: &str| {
            let event = server.get(&room_path(&room, &format!("event/{id}")), &alice.token).await;
            event.ok()["unsigned"]["redacted_because"].is_object()
        };
        let mut looks = every(Duration::from_millis(50));
        let others = async {
            while !(redacted(&replies[0]).await && redacted(&replies[1]).await) {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(60), others).await.expect("the others are redacted");
        assert!(!redacted(&replies[2]).await);
    }
}
