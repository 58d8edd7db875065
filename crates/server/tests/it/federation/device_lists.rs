//! Devices of users of other servers: followed by their updates, asked for where updates are missing.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_http::JsonBody;
use plexus_testkit::{TestServer, TestUser};
use serde_json::{Value, json};

use super::away::{Away, CLIENT, synced};

const DEVICES: &str = "/_matrix/federation/v1/user/devices/";
const KEYS: &str = "/_matrix/federation/v1/user/keys/query";

/// Bob's devices, as his server has them.
#[derive(Debug, Clone)]
struct Devices {
    stream_id: i64,
    ids: Vec<&'static str>,
    failing: bool,
}

/// Alice's server and Bob's, who are in an encrypted room.
struct Two {
    server: TestServer,
    alice: TestUser,
    room: String,
    away: Away,
    devices: Arc<Mutex<Devices>>,
}

fn keys(user: &str, device: &str) -> Value {
    json!({ "user_id": user, "device_id": device, "algorithms": [], "keys": { "ed25519:X": device } })
}

async fn bobs_server(devices: &Arc<Mutex<Devices>>) -> Away {
    let answer = |devices: &Arc<Mutex<Devices>>, write: fn(&str, &Devices) -> Value| {
        let devices = Arc::clone(devices);
        move |bob: String| -> Response {
            let devices = devices.lock().clone();
            if devices.failing {
                (StatusCode::INTERNAL_SERVER_ERROR, r#"{"errcode":"M_UNKNOWN","error":""}"#).into_response()
            } else {
                JsonBody(write(&bob, &devices)).into_response()
            }
        }
    };
    let list = answer(devices, |bob, devices| {
        let device = |id: &&str| json!({ "device_id": id, "keys": keys(bob, id), "device_display_name": "his" });
        let devices_of: Vec<Value> = devices.ids.iter().map(device).collect();
        json!({ "user_id": bob, "stream_id": devices.stream_id, "devices": devices_of })
    });
    let query = answer(devices, |bob, devices| {
        let of_bob: serde_json::Map<String, Value> =
            devices.ids.iter().map(|id| (id.to_string(), keys(bob, id))).collect();
        json!({ "device_keys": { bob: of_bob } })
    });
    Away::answering(|name| {
        let bob = format!("@bob:{name}");
        let (of_list, of_query) = (bob.clone(), bob);
        Router::new()
            .route(&format!("{DEVICES}{{user_id}}"), get(async move || list(of_list)))
            .route(KEYS, post(async move || query(of_query)))
    })
    .await
}

impl Two {
    async fn on_each() -> Vec<Self> {
        let mut all = Vec::new();
        for server in TestServer::on_each().await {
            let devices = Devices { stream_id: 10, ids: vec!["A"], failing: false };
            let devices = Arc::new(Mutex::new(devices));
            let (alice, away) = (server.register("alice").await, bobs_server(&devices).await);
            let room = away.room(&server, &alice).await;
            all.push(Self { server, alice, room, away, devices });
        }
        all
    }

    fn set(&self, stream_id: i64, ids: &[&'static str], failing: bool) {
        let devices = Devices { stream_id, ids: ids.to_vec(), failing };
        *self.devices.lock() = devices;
    }

    async fn now(&self) -> String {
        let answer = self.server.get(&format!("{CLIENT}/sync"), &self.alice.token).await;
        answer.ok()["next_batch"].as_str().unwrap().to_owned()
    }

    /// Bob's server sends an EDU.
    async fn send(&self, id: &str, edu_type: &str, content: Value) {
        let edu = json!({ "edu_type": edu_type, "content": content });
        self.away.send(&self.server, id, Vec::new(), vec![edu]).await.ok();
    }

    async fn update(&self, device: &str, stream_id: i64, prev_id: &[i64], more: Value) {
        let mut content = json!({
            "user_id": self.away.bob, "device_id": device, "stream_id": stream_id, "prev_id": prev_id,
        });
        content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send(&format!("{device}-{stream_id}-{}", prev_id.len()), "m.device_list_update", content).await;
    }

    /// Waits until Alice's sync names Bob in `device_lists.changed`.
    async fn wait_for_device_change(&self, since: &str) {
        let bob = json!(self.away.bob);
        synced(&self.server, &self.alice, since, |answer| {
            answer["device_lists"]["changed"].as_array().is_some_and(|changed| changed.contains(&bob))
        })
        .await;
    }

    /// What Alice gets for Bob.
    async fn query(&self) -> Value {
        let body = json!({ "device_keys": { self.away.bob.as_str(): [] }, "timeout": 5_000 });
        self.server.post(&format!("{CLIENT}/keys/query"), &self.alice.token, body).await.ok().clone()
    }

    /// The devices that Alice gets for Bob.
    async fn devices(&self) -> Vec<String> {
        let answer = self.query().await;
        answer["device_keys"][&self.away.bob].as_object().unwrap().keys().cloned().collect()
    }

    /// How often Bob's server was asked: for the list, and for keys.
    fn asked(&self) -> (usize, usize) {
        let count = |path: &str| self.away.peer.received().iter().filter(|it| it.uri.starts_with(path)).count();
        (count(DEVICES), count(KEYS))
    }
}

#[tokio::test]
async fn updates_are_followed() {
    for two in Two::on_each().await {
        // Nothing is known of Bob yet.
        let now = two.now().await;
        two.update("A", 10, &[], json!({ "keys": keys(&two.away.bob, "A") })).await;
        two.wait_for_device_change(&now).await;
        assert_eq!(two.devices().await, ["A"]);
        assert_eq!(two.query().await["device_keys"][&two.away.bob]["A"]["unsigned"]["device_display_name"], "his");
        assert_eq!(two.asked(), (1, 0));

        let now = two.now().await;
        two.update("B", 12, &[10], json!({ "keys": keys(&two.away.bob, "B") })).await;
        two.wait_for_device_change(&now).await;
        assert_eq!(two.devices().await, ["A", "B"]);
        // Once more, under another transaction id.
        two.update("B", 12, &[10, 10], json!({ "keys": keys(&two.away.bob, "B") })).await;
        let now = two.now().await;
        two.update("A", 13, &[12], json!({ "deleted": true })).await;
        two.wait_for_device_change(&now).await;
        assert_eq!(two.devices().await, ["B"]);
        assert_eq!(two.asked(), (1, 0));
    }
}

#[tokio::test]
async fn changes_are_announced_in_a_room_that_is_not_encrypted() {
    for server in TestServer::on_each().await {
        let devices = Devices { stream_id: 10, ids: vec!["A"], failing: false };
        let devices = Arc::new(Mutex::new(devices));
        let (alice, away) = (server.register("alice").await, bobs_server(&devices).await);
        let body = json!({ "preset": "public_chat", "room_version": "11" });
        let created = server.post(&format!("{CLIENT}/createRoom"), &alice.token, body).await;
        let room = created.ok()["room_id"].as_str().unwrap().to_owned();
        away.member(&server, &alice, &room, "join").await;
        let two = Two { server, alice, room, away, devices };
        for edu_type in ["m.device_list_update", "m.signing_key_update"] {
            let now = two.now().await;
            let content = json!({ "user_id": two.away.bob, "device_id": "A", "stream_id": 10, "prev_id": [] });
            two.send(edu_type, edu_type, content).await;
            two.wait_for_device_change(&now).await;
        }
        assert_eq!(two.asked(), (0, 0), "nothing is kept of the devices");

        // What is announced takes a position in the log: one a transaction.
        let position = |token: &str| token.trim_start_matches('s').split('_').next().unwrap().parse::<i64>().unwrap();
        let now = two.now().await;
        let edu = |stream_id: i64| {
            let content = json!({ "user_id": two.away.bob, "device_id": "A", "stream_id": stream_id, "prev_id": [] });
            json!({ "edu_type": "m.device_list_update", "content": content })
        };
        two.away.send(&two.server, "many", Vec::new(), (20..60).map(edu).collect()).await.ok();
        two.wait_for_device_change(&now).await;
        assert_eq!(position(&two.now().await) - position(&now), 1);

        two.away.member(&two.server, &two.alice, &two.room, "leave").await;
        let now = two.now().await;
        two.update("A", 11, &[10], json!({})).await;
        let answer = two.server.get(&format!("{CLIENT}/sync?since={now}&timeout=0"), &two.alice.token).await;
        assert!(answer.ok().get("device_lists").is_none());
    }
}

#[tokio::test]
async fn announcements_of_a_user_have_a_limit_across_transactions() {
    for place in plexus_testkit::places() {
        let clock = Clock::manual(1_700_000_000_000);
        let devices = Arc::new(Mutex::new(Devices { stream_id: 10, ids: vec!["A"], failing: false }));
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, away) = (server.register("alice").await, bobs_server(&devices).await);
        let body = json!({ "preset": "public_chat", "room_version": "11" });
        let created = server.post(&format!("{CLIENT}/createRoom"), &alice.token, body).await;
        let room = created.ok()["room_id"].as_str().unwrap().to_owned();
        away.member(&server, &alice, &room, "join").await;
        let two = Two { server, alice, room, away, devices };
        let position = |token: &str| token.trim_start_matches('s').split('_').next().unwrap().parse::<i64>().unwrap();
        let before = two.now().await;
        for number in 0..40 {
            let content = json!({ "user_id": two.away.bob, "device_id": "A", "stream_id": number, "prev_id": [] });
            two.send(&format!("update {number}").replace(' ', "-"), "m.device_list_update", content).await;
        }
        let now = two.now().await;
        let announced = position(&now) - position(&before);
        assert!((1..10).contains(&announced), "{announced} announcements");
        // The last change is announced too, a little later.
        clock.advance(std::time::Duration::from_secs(61));
        two.wait_for_device_change(&now).await;
    }
}

#[tokio::test]
async fn where_updates_are_missing_the_list_is_asked_for() {
    for two in Two::on_each().await {
        assert_eq!(two.devices().await, ["A"]);
        assert_eq!(two.devices().await, ["A"]);
        assert_eq!(two.asked(), (0, 1));

        two.set(20, &["A", "B", "C"], false);
        let now = two.now().await;
        two.update("C", 20, &[15], json!({ "keys": keys(&two.away.bob, "C") })).await;
        two.wait_for_device_change(&now).await;
        assert_eq!(two.devices().await, ["A", "B", "C"]);
        assert_eq!(two.asked(), (1, 1));

        // What was missing comes late. It is older than the list, or a server has lost its memory: the list knows.
        two.set(20, &["A", "C"], false);
        let now = two.now().await;
        two.update("B", 15, &[10], json!({ "keys": keys(&two.away.bob, "B") })).await;
        two.wait_for_device_change(&now).await;
        assert_eq!(two.devices().await, ["A", "C"]);
        assert_eq!(two.asked(), (2, 1));
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_when_it_comes_back() {
    for two in Two::on_each().await {
        assert_eq!(two.devices().await, ["A"]);
        let now = two.now().await;
        two.set(0, &[], true);
        two.update("B", 12, &[11], json!({ "keys": keys(&two.away.bob, "B") })).await;
        two.away.peer.receives(|request| request.uri.starts_with(DEVICES)).await;
        // What was last known is better than nothing.
        let answer = two.query().await;
        assert_eq!(answer["device_keys"][&two.away.bob].as_object().unwrap().len(), 1);
        assert!(answer["failures"][two.away.peer.name().as_str()].is_object(), "{answer}");

        two.set(12, &["A", "B"], false);
        let asked = two.asked().0;
        let talk = async {
            for round in 0.. {
                two.send(&format!("back-{round}"), "m.unheard_of", json!({})).await;
                if two.asked().0 > asked {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(talk, two.wait_for_device_change(&now));
        assert_eq!(two.devices().await, ["A", "B"]);
    }
}

#[tokio::test]
async fn cross_signing_keys_are_followed() {
    for two in Two::on_each().await {
        assert_eq!(two.devices().await, ["A"]);
        let now = two.now().await;
        let bob = two.away.bob.as_str();
        let master = json!({ "user_id": bob, "usage": ["master"], "keys": { "ed25519:M": "M" } });
        let own = json!({ "user_id": bob, "usage": ["self_signing"], "keys": { "ed25519:S": "S" } });
        let content = json!({ "user_id": bob, "master_key": master, "self_signing_key": own });
        two.send("signing", "m.signing_key_update", content).await;
        two.wait_for_device_change(&now).await;
        let answer = two.query().await;
        assert_eq!(answer["master_keys"][bob], master);
        assert_eq!(answer["self_signing_keys"][bob], own);
        assert_eq!(two.asked(), (0, 1));
    }
}

#[tokio::test]
async fn users_without_a_shared_room_are_not_tracked() {
    for two in Two::on_each().await {
        assert_eq!(two.devices().await, ["A"]);
        two.away.member(&two.server, &two.alice, &two.room, "leave").await;
        two.set(11, &["B"], false);
        // Nobody tells when he is forgotten; that he is, is certain.
        while two.devices().await != ["B"] {
            tokio::task::yield_now().await;
        }
        let (lists, asked) = two.asked();
        assert_eq!(two.devices().await, ["B"]);
        assert_eq!(two.asked(), (lists, asked + 1), "each time again");
        // Nor are updates for strangers of any effect.
        two.update("C", 12, &[11], json!({ "keys": keys(&two.away.bob, "C") })).await;

        let now = two.now().await;
        two.away.member(&two.server, &two.alice, &two.room, "join").await;
        two.wait_for_device_change(&now).await;
        assert_eq!(two.devices().await, ["B"]);
        let asked = two.asked();
        assert_eq!(two.devices().await, ["B"]);
        assert_eq!(two.asked(), asked);
        assert_eq!(asked.0, 0);
    }
}
