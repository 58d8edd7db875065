//! kill -9: what was acknowledged about delayed events holds afterwards, and nothing is sent twice.

use std::collections::HashMap;
use std::time::Duration;

use http::Method;
use plexus_base::Random;
use plexus_testkit::{every, places, within};
use serde_json::{Value, json};

use super::PATIENCE;
use crate::kill::{Victim, call, text};

const ROUNDS: u64 = 8;
const EVENTS: u64 = 10;

const SETTINGS: &str = "
max_event_delay_duration: 1h
rc_delayed_event_mgmt: {per_second: 10000, burst_count: 10000}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_about_delayed_events_holds() {
    let random = Random::seeded(7);
    for place in places() {
        let victim = Victim::with_settings(place, SETTINGS);
        let server = victim.start();
        let account = json!({ "username": "alice", "password": "secret", "auth": { "type": "m.login.dummy" } });
        let made = call(Method::POST, format!("{}/register", victim.url), "", account).await.unwrap();
        let token = text(&made["access_token"]);
        let made = call(Method::POST, format!("{}/createRoom", victim.url), &token, json!({})).await.unwrap();
        let room = text(&made["room_id"]);
        drop(server);

        let v1 = victim.url.replace("/v3", "/v1");
        let mut expected = HashMap::new();
        for round in 0..ROUNDS {
            let server = victim.start();
            for number in 0..EVENTS {
                let body = format!("r{round}n{number}");
                let path = format!("{}/rooms/{room}/delayed_event/m.room.message/{body}", victim.url);
                let is_cancelled = number % 5 == 3;
                // Some are being sent when the server is killed, others later.
                let delay_ms = if is_cancelled { 3_600_000 } else { 1 + random.below(40) + 300 * (number % 2) };
                let request = json!({ "delay_ms": delay_ms, "content": { "msgtype": "m.text", "body": body } });
                let made = call(Method::PUT, path, &token, request).await.unwrap();
                let delay_id = text(&made["delay_id"]);
                if is_cancelled {
                    let cancel = format!("{v1}/delayed_events/{delay_id}/cancel");
                    call(Method::POST, cancel, &token, json!({})).await.unwrap();
                    expected.insert(delay_id, None);
                } else {
                    expected.insert(delay_id, Some(body));
                }
            }
            // Dropping it is SIGKILL.
            drop(server);
        }

        let _server = victim.start();
        let mut ticks = every(Duration::from_millis(20));
        for (delay_id, body) in &expected {
            let url = format!("{v1}/delayed_events/{delay_id}");
            let wait = async {
                loop {
                    let found = call(Method::GET, url.clone(), &token, Value::Null).await.unwrap();
                    if let Some(end) = found.get("finalised") {
                        return end["event_id"].is_string();
                    }
                    ticks.tick().await;
                }
            };
            assert_eq!(within(PATIENCE, wait).await.unwrap(), body.is_some(), "{body:?}");
        }
        let url = format!("{}/rooms/{room}/messages?dir=b&limit=100", victim.url);
        let page = call(Method::GET, url, &token, Value::Null).await.unwrap();
        let mut sent: Vec<String> = crate::client::bodies(&page["chunk"]).into_iter().map(str::to_owned).collect();
        let mut wanted: Vec<String> = expected.into_values().flatten().collect();
        sent.sort();
        wanted.sort();
        assert_eq!(sent, wanted);
    }
}
