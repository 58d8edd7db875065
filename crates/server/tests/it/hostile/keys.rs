//! Keys that have expired, or that are absurd.

use axum::routing::get;
use plexus_protocol::id::ServerName;
use plexus_protocol::json;

use super::*;

const PATH: &str = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Atest.example";
const FAR: u64 = 4_102_444_800_000;

type Telling = fn(&ServerName, &SigningKey) -> Body;

fn text(keys: &Object) -> Body {
    Body::from(keys.to_json())
}

/// The answer with a member replaced and signed again.
fn with(name: &ServerName, key: &SigningKey, member: &str, value: &str) -> Body {
    let mut keys = Peer::keys(name, key, FAR);
    keys.remove("signatures");
    keys.insert(member, json::Value::parse(value).unwrap());
    let signature = key.sign(keys.to_json().as_bytes());
    keys.insert("signatures", Object::from([(name.as_str(), Object::from([(key.key_id(), signature)]))]));
    text(&keys)
}

/// Keys under which nobody has signed anything, `count` of them.
fn many(count: usize) -> String {
    let key = |at: usize| format!("\"ed25519:{at}\":{{\"key\":\"{}\"}}", STANDARD_NO_PAD.encode([7; 32]));
    format!("{{{}}}", (0..count).map(key).collect::<Vec<_>>().join(","))
}

/// Endless, or nearly so: a piece of white space whenever one is wanted.
fn endless() -> Body {
    let piece = || Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 8_192]));
    Body::from_stream(futures_util::stream::repeat_with(piece))
}

const ABSURD: &[(&str, Telling)] = &[
    ("expired", |name, key| text(&Peer::keys(name, key, 1))),
    ("of another server", |_, key| text(&Peer::keys(&"else.example".parse().unwrap(), key, FAR))),
    ("signed by nobody", |name, key| {
        let mut keys = Peer::keys(name, key, FAR);
        keys.insert("signatures", Object::new());
        text(&keys)
    }),
    ("signed by another key", |name, key| {
        let mut keys = Peer::keys(name, key, FAR);
        let other = SigningKey::generate(&[3; 32], "p_1");
        keys.remove("signatures");
        other.sign_object(&mut keys, name.as_str()).unwrap();
        text(&keys)
    }),
    ("good until never", |name, key| with(name, key, "valid_until_ts", "-1")),
    ("good until a text", |name, key| with(name, key, "valid_until_ts", "\"tomorrow\"")),
    ("no keys", |name, key| with(name, key, "verify_keys", "{}")),
    ("keys that are a list", |name, key| with(name, key, "verify_keys", "[]")),
    ("keys that are no keys", |name, key| with(name, key, "verify_keys", "{\"ed25519:p_1\":{\"key\":\"AAAA\"}}")),
    ("500 keys", |name, key| with(name, key, "verify_keys", &many(500))),
    ("100,000 keys", |name, key| with(name, key, "old_verify_keys", &many(100_000))),
    ("not JSON", |_, _| Body::from("keys")),
    ("nothing", |_, _| Body::empty()),
    ("no text", |_, _| Body::from(&b"\xff\xfe"[..])),
    ("nested", |_, _| Body::from("[".repeat(100_000))),
    ("endless", |_, _| endless()),
];

async fn teller(tell: Telling) -> Peer {
    Peer::telling(|name, key| {
        let (name, key) = (name.clone(), key.clone());
        Router::new().route("/_matrix/key/v2/server", get(async move || tell(&name, &key).into_response()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_keys_are_not_believed() {
    let server = TestServer::on(TestPlace::sqlite()).config(MANY).start().await;
    server.register("alice").await;
    for (name, tell) in ABSURD {
        let peer = teller(*tell).await;
        let answer = plexus_testkit::within(BOUND, peer.get(&server, PATH)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{name}: no answer"));
        assert_eq!(answer.refusal(), (401, "M_UNAUTHORIZED"), "{name}: {answer:?}");
    }
    for until in ["9007199254740991", "4102444800000"] {
        let until = until.to_owned();
        let peer = Peer::telling(|name, key| {
            let (name, key) = (name.clone(), key.clone());
            let tell = async move || with(&name, &key, "valid_until_ts", &until).into_response();
            Router::new().route("/_matrix/key/v2/server", get(tell))
        });
        peer.await.get(&server, PATH).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_signed_after_its_key_expired_is_refused_where_that_matters() {
    // From room version 5 on a key's validity counts.
    for (version, counts) in [("4", false), ("5", true), ("11", true)] {
        for stage in Stage::on_each(version).await {
            // Keys are believed for a week at most: what is sent a year from now is signed by no valid one.
            let later = u64::from(u32::MAX) * 1_000;
            let lie = stage.lie(|event| event["origin_server_ts"] = serde_json::json!(later)).await;
            let sent = stage.send(std::slice::from_ref(&lie)).await;
            let answer = &sent.ok()["pdus"][id_of(&lie, stage.version)];
            let error = answer["error"].as_str();
            assert_eq!(error.is_some_and(|error| error.contains("not valid")), counts, "{version}: {answer}");
            stage.judged().await;
            let text = lie["content"]["body"].as_str().unwrap().to_owned();
            assert_eq!(stage.bodies().await.contains(&text), !counts, "{version}");
            stage.is_usable().await;
        }
    }
}

/// The key that one Helm chart generated for every server (CVE-2026-24044): what `math/rand` of Go gives for the seed
/// 0.
fn leaked_key() -> SigningKey {
    let seed =
        base64::engine::general_purpose::STANDARD.decode("AZT9wvov/MBB0/8SBFtzyG5P+V/2YqXu6Cq99EotC3U=").unwrap();
    SigningKey::generate(&seed.try_into().unwrap(), "0")
}

/// A server with a key of its own and the leaked one.
async fn with_leaked_key() -> Peer {
    Peer::telling(|name, key| {
        let leaked = leaked_key();
        let entry = |key: &SigningKey| format!("{:?}:{{\"key\":{:?}}}", key.key_id(), key.public_key_base64());
        let verify_keys = format!("{{{},{}}}", entry(key), entry(&leaked));
        let mut keys = Peer::keys(name, key, FAR);
        keys.insert("verify_keys", json::Value::parse(&verify_keys).unwrap());
        keys.remove("signatures");
        key.sign_object(&mut keys, name.as_str()).unwrap();
        leaked.sign_object(&mut keys, name.as_str()).unwrap();
        Router::new().route("/_matrix/key/v2/server", get(async move || text(&keys).into_response()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaked_key_signs_no_request() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(MANY).start().await;
        server.register("alice").await;
        let peer = with_leaked_key().await;
        let destination: ServerName = "test.example".parse().unwrap();
        let request =
            plexus_protocol::x_matrix::Request { method: "GET", uri: PATH, destination: &destination, content: None };
        let header = plexus_protocol::x_matrix::XMatrix::sign(&request, peer.name(), &leaked_key()).to_string();
        let headers = [("Authorization", header.as_str())];
        let answer = server.send(http::Method::GET, PATH, None, &headers, bytes::Bytes::new()).await;
        assert_eq!(answer.refusal(), (401, "M_UNAUTHORIZED"), "{answer:?}");
        // Its other key is as good as before.
        peer.get(&server, PATH).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaked_key_signs_no_event() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(MANY).start().await;
        let alice = server.register("alice").await;
        let room = federation::public_room(&server, &alice, "11").await;
        let peer = with_leaked_key().await;
        let mallory = peer.user("mallory");
        federation::join(&server, &peer, &room, &mallory).await;
        let state = server.get(&format!("{CLIENT}/rooms/{room}/state"), &alice.token).await.ok().clone();
        let id = |kind: &str, key: &str| {
            let mut events = state.as_array().unwrap().iter();
            let found = events.find(|event| event["type"] == kind && event["state_key"] == key).unwrap();
            found["event_id"].clone()
        };
        let membership = id("m.room.member", &mallory);
        let mut results = Vec::new();
        for (key, body) in [(leaked_key(), "forged"), (peer.key().clone(), "true")] {
            let event = json!({
                "type": "m.room.message", "sender": mallory, "room_id": room, "depth": 50,
                "origin_server_ts": 1_700_000_000_000_u64, "content": { "msgtype": "m.text", "body": body },
                "prev_events": [membership],
                "auth_events": [id("m.room.create", ""), id("m.room.power_levels", ""), membership],
            });
            let event = signed_by(event, "11".parse().unwrap(), &key, peer.name().as_str());
            let id = id_of(&event, "11".parse().unwrap());
            let body = json!({ "origin": peer.name().as_str(), "origin_server_ts": 1, "pdus": [event] });
            let sent = peer.put(&server, &format!("/_matrix/federation/v1/send/{}", unique_name()), body).await;
            results.push(sent.ok()["pdus"][&id].clone());
        }
        assert!(results[0]["error"].is_string(), "{results:?}");
        assert_eq!(results[1], json!({}), "{results:?}");
    }
}
