//! Delayed events (MSC4140).

mod get_all_delayed_events;
mod get_delayed_event;
mod kill;
mod overtaken;
mod send_delayed_event;
mod update_delayed_event;

use std::time::Duration;

use plexus_base::Clock;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{every, places, within};
use serde_json::{Value, json};

use crate::client::room_path;

pub(crate) const START_MS: u64 = 1_700_000_000_000;
const UNSTABLE: &str = "/_matrix/client/unstable/org.matrix.msc4140";
const PATIENCE: Duration = Duration::from_secs(30);

const CONFIG: &str = "
max_event_delay_duration: 1h
rc_delayed_event_mgmt: {per_second: 10000, burst_count: 10000}
";

/// A server on each database, with a manual clock.
async fn servers(config: &str) -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        let config = format!("{CONFIG}{config}");
        servers.push(TestServer::on(place).clock(Clock::manual(START_MS)).config(&config).start().await);
    }
    servers
}

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

/// Schedules an event through the endpoint of its own, in a transaction named for its content.
async fn schedule(server: &TestServer, user: &TestUser, room: &str, delay_ms: u64, body: &str) -> String {
    let path = room_path(room, &format!("delayed_event/m.room.message/{body}"));
    let request = json!({ "delay_ms": delay_ms, "content": text(body) });
    delay_id(&server.put(&path, &user.token, request).await)
}

/// Schedules a state event as Element Call does.
async fn schedule_state(server: &TestServer, user: &TestUser, room: &str, key: &str, delay_ms: u64) -> String {
    let path = room_path(room, &format!("state/org.example.call/{key}?org.matrix.msc4140.delay={delay_ms}"));
    delay_id(&server.put(&path, &user.token, json!({ "left": true })).await)
}

fn delay_id(answer: &Answer) -> String {
    let body = answer.ok().as_object().unwrap();
    assert!(!body.contains_key("event_id"));
    body["delay_id"].as_str().unwrap().to_owned()
}

async fn lookup(server: &TestServer, user: &TestUser, delay_id: &str) -> Answer {
    server.get(&format!("/_matrix/client/v1/delayed_events/{delay_id}"), &user.token).await
}

async fn act(server: &TestServer, user: &TestUser, delay_id: &str, action: &str) -> Answer {
    server.post(&format!("/_matrix/client/v1/delayed_events/{delay_id}/{action}"), &user.token, json!({})).await
}

async fn act_unauthenticated(server: &TestServer, delay_id: &str, action: &str) -> Answer {
    let path = format!("{UNSTABLE}/delayed_events/{delay_id}/{action}");
    server.request(http::Method::POST, &path, None, None).await
}

/// What became of a delayed event, once it is known.
async fn finalised(server: &TestServer, user: &TestUser, delay_id: &str) -> Value {
    let mut ticks = every(Duration::from_millis(5));
    let wait = async {
        loop {
            let found = lookup(server, user, delay_id).await.ok()["finalised"].clone();
            if found.is_object() {
                return found;
            }
            ticks.tick().await;
        }
    };
    within(PATIENCE, wait).await.expect("the delayed event is finalised")
}

async fn is_scheduled(server: &TestServer, user: &TestUser, delay_id: &str) -> bool {
    lookup(server, user, delay_id).await.ok()["finalised"].is_null()
}

/// The texts of the room's messages, oldest first.
async fn messages(server: &TestServer, user: &TestUser, room: &str) -> Vec<String> {
    let answer = server.get(&room_path(room, "messages?dir=f&limit=100"), &user.token).await;
    crate::client::bodies(&answer.ok()["chunk"]).into_iter().map(str::to_owned).collect()
}
