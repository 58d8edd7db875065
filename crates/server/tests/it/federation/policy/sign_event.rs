//! `POST /_matrix/policy/v1/sign`: this server as a policy server.

use http::Method;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::sign::PublicKey;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{Peer, places};
use serde_json::{Value, json};

use crate::client::{create, room_path, say};
use crate::federation::event::shared;
use crate::federation::{make, set, signed};

const PATH: &str = "/_matrix/policy/v1/sign";
const WELL_KNOWN: &str = "/.well-known/matrix/policy_server";

/// A policy server, with its administrator and the room of its rules.
async fn policy_servers() -> Vec<(TestServer, TestUser, String)> {
    let mut servers = Vec::new();
    for place in places() {
        let mut server = TestServer::on(place).start().await;
        let admin = server.register("admin").await;
        let rules = create(&server, &admin, json!({ "preset": "private_chat" })).await;
        server.config_mut().federation.policy_server_rules_room = Some(rules.clone());
        server.restart().await;
        servers.push((server, admin, rules));
    }
    servers
}

async fn public_key(server: &TestServer) -> String {
    let answer = server.request(Method::GET, WELL_KNOWN, None, None).await;
    answer.ok()["public_keys"]["ed25519"].as_str().expect("a key").to_owned()
}

async fn ban(server: &TestServer, admin: &TestUser, rules: &str, entity: &str) {
    let path = room_path(rules, "state/m.policy.rule.user/rule");
    let rule = json!({ "entity": entity, "recommendation": "m.ban", "reason": "spam" });
    server.put(&path, &admin.token, rule).await.ok();
}

/// A message of a user of the peer, made from the template of a leave.
async fn message(server: &TestServer, peer: &Peer, room: &str, user: &str) -> Pdu {
    let made = make(server, peer, "leave", room, user).await;
    signed(peer, &made, |event| {
        event["type"] = json!("m.room.message");
        event["content"] = json!({ "msgtype": "m.text", "body": "hello" });
        event.as_object_mut().expect("an event").remove("state_key");
    })
}

async fn sign(server: &TestServer, peer: &Peer, pdu: &Pdu) -> Answer {
    peer.post(server, PATH, serde_json::from_str(pdu.json()).expect("JSON")).await
}

#[tokio::test]
async fn events_that_no_rule_bans_are_signed() {
    for (server, admin, rules) in policy_servers().await {
        let peer = Peer::start().await;
        let room = shared(&server, &peer, &admin).await;
        let bob = peer.user("bob");
        let pdu = message(&server, &peer, &room, &bob).await;
        // Not for rooms that do not ask for it.
        assert_eq!(sign(&server, &peer, &pdu).await.refusal(), (404, "M_NOT_FOUND"));
        let key = public_key(&server).await;
        let policy = |key: &str| json!({ "via": server.name(), "public_keys": { "ed25519": key } });
        set(&server, &admin, &room, "m.room.policy", policy("6yhHGKhCiXTSEN2ksjV7kX_N6rBQZ3Xb-M7LlC6NS-s")).await;
        assert_eq!(sign(&server, &peer, &pdu).await.refusal(), (404, "M_NOT_FOUND"));
        set(&server, &admin, &room, "m.room.policy", policy(&key)).await;

        let answer = sign(&server, &peer, &pdu).await;
        let signature = answer.ok()[server.name()]["ed25519:policy_server"].as_str().expect("a signature").to_owned();
        assert!(PublicKey::parse(&key).expect("a key").verify(pdu.signable_json().as_bytes(), &signature));
        // Events of its own users are signed, too.
        say(&server, &admin, &room, "hello").await;

        ban(&server, &admin, &rules, &bob).await;
        assert_eq!(sign(&server, &peer, &pdu).await.refusal(), (400, "M_FORBIDDEN"));
        ban(&server, &admin, &rules, &format!("@*:{}", server.name())).await;
        let content = json!({ "msgtype": "m.text", "body": "banned" });
        let banned = server.put(&room_path(&room, "send/m.room.message/b"), &admin.token, content).await;
        assert_eq!(banned.refusal(), (400, "M_FORBIDDEN"));
        ban(&server, &admin, &rules, "@nobody:nowhere.example").await;
        sign(&server, &peer, &pdu).await.ok();
    }
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    for (server, admin, _) in policy_servers().await {
        let peer = Peer::start().await;
        let room = shared(&server, &peer, &admin).await;
        let policy = json!({ "via": server.name(), "public_keys": { "ed25519": public_key(&server).await } });
        set(&server, &admin, &room, "m.room.policy", policy).await;
        for (body, expected) in [
            (json!({}), (400, "M_BAD_JSON")),
            (json!({ "room_id": 7 }), (400, "M_BAD_JSON")),
            (json!({ "room_id": room, "type": "m.a" }), (400, "M_BAD_JSON")),
            (json!({ "room_id": "!nowhere:test.example", "type": "m.a" }), (404, "M_NOT_FOUND")),
        ] {
            assert_eq!(peer.post(&server, PATH, body.clone()).await.refusal(), expected, "{body}");
        }
        let pdu = message(&server, &peer, &room, &peer.user("bob")).await;
        set(&server, &admin, &room, "m.room.server_acl", json!({ "allow": ["test.example"] })).await;
        assert_eq!(sign(&server, &peer, &pdu).await.refusal(), (403, "M_FORBIDDEN"));
    }
}

#[tokio::test]
async fn servers_outside_learn_nothing_of_the_room() {
    for (server, admin, _) in policy_servers().await {
        let (peer, stranger) = (Peer::start().await, Peer::start().await);
        let room = shared(&server, &peer, &admin).await;
        let policy = json!({ "via": server.name(), "public_keys": { "ed25519": public_key(&server).await } });
        set(&server, &admin, &room, "m.room.policy", policy).await;
        // Any server in the room may ask about any event, one outside about none but its user's join.
        let pdu = message(&server, &peer, &room, &peer.user("bob")).await;
        sign(&server, &peer, &pdu).await.ok();
        assert_eq!(sign(&server, &stranger, &pdu).await.refusal(), (404, "M_NOT_FOUND"));
        let malformed = json!({ "room_id": room, "type": "m.a" });
        assert_eq!(stranger.post(&server, PATH, malformed).await.refusal(), (404, "M_NOT_FOUND"));
        let join = signed(&stranger, &make(&server, &stranger, "join", &room, &stranger.user("eve")).await, |_| {});
        sign(&server, &stranger, &join).await.ok();
        set(&server, &admin, &room, "m.room.join_rules", json!({ "join_rule": "invite" })).await;
        assert_eq!(sign(&server, &stranger, &join).await.refusal(), (404, "M_NOT_FOUND"));
        set(&server, &admin, &room, "m.room.join_rules", json!({ "join_rule": "public" })).await;
        set(&server, &admin, &room, "m.room.server_acl", json!({ "allow": ["test.example"] })).await;
        assert_eq!(sign(&server, &stranger, &join).await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test]
async fn events_are_signed_by_their_senders_servers_first() {
    for (server, admin, rules) in policy_servers().await {
        let peer = Peer::start().await;
        let room = shared(&server, &peer, &admin).await;
        let policy = json!({ "via": server.name(), "public_keys": { "ed25519": public_key(&server).await } });
        set(&server, &admin, &room, "m.room.policy", policy).await;
        let bob = peer.user("bob");
        let made = make(&server, &peer, "leave", &room, &bob).await;
        let forged = signed(&peer, &made, |event| event["sender"] = json!(admin.id));
        assert_eq!(sign(&server, &peer, &forged).await.refusal(), (400, "M_BAD_JSON"));

        // Nobody is kept from leaving; but a banned user says nothing else with it.
        ban(&server, &admin, &rules, &bob).await;
        sign(&server, &peer, &signed(&peer, &made, |_| {})).await.ok();
        let speech = signed(&peer, &made, |event| event["content"]["reason"] = json!("spam"));
        assert_eq!(sign(&server, &peer, &speech).await.refusal(), (400, "M_FORBIDDEN"));
    }
}

#[tokio::test]
async fn other_servers_are_no_policy_servers() {
    let (server, peer) = (TestServer::sqlite().await, Peer::start().await);
    let event: Value = json!({ "room_id": "!r:test.example" });
    assert_eq!(peer.post(&server, PATH, event).await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(server.request(Method::GET, WELL_KNOWN, None, None).await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(server.request(Method::POST, PATH, None, Some(json!({}))).await.status, 401);
}
