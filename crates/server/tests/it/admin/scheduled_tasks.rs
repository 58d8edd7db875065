//! `GET /_synapse/admin/v1/scheduled_tasks`.

use plexus_base::Clock;
use plexus_testkit::places;
use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::admin::register_admin;
use crate::client::{public_room, room_path};

const TASKS: &str = "/_synapse/admin/v1/scheduled_tasks";
const START_MS: u64 = 1_700_000_000_000;

#[tokio::test]
async fn tasks_are_listed() {
    for place in places() {
        let clock = Clock::manual(START_MS);
        let server = TestServer::on(place).clock(clock).config("max_event_delay_duration: 1h").start().await;
        let admin = register_admin(&server).await;
        let alice = server.register("alice").await;
        let (room, other) = (public_room(&server, &alice).await, public_room(&server, &alice).await);
        let mut ids = Vec::new();
        for (room, delay_ms) in [(&other, 20_000), (&room, 10_000)] {
            let body = json!({ "delay_ms": delay_ms, "content": {} });
            let made = server.put(&room_path(room, "delayed_event/a/1"), &alice.token, body).await;
            ids.push(made.ok()["delay_id"].clone());
        }
        let task = |id: &serde_json::Value, room: &str, due_ms: u64| {
            json!({
                "id": id, "action": "send_delayed_event", "status": "scheduled", "timestamp_ms": due_ms,
                "resource_id": room, "result": null, "error": null,
            })
        };
        let (sooner, later) = (task(&ids[1], &room, START_MS + 10_000), task(&ids[0], &other, START_MS + 20_000));
        let none = json!([]);
        for (query, expected) in [
            (String::new(), json!([sooner, later])),
            ("?action_name=send_delayed_event&status=scheduled".to_owned(), json!([sooner, later])),
            (format!("?resource_id={}", room.replace('!', "%21")), json!([sooner])),
            (format!("?max_timestamp={}", START_MS + 19_999), json!([sooner])),
            (format!("?max_timestamp={}", START_MS + 20_000), json!([sooner, later])),
            (format!("?max_timestamp={}", u64::MAX), json!([sooner, later])),
            ("?action_name=shutdown_room".to_owned(), none.clone()),
            ("?status=complete".to_owned(), none.clone()),
            ("?job_status=active".to_owned(), none),
        ] {
            let mut listed = server.get(&format!("{TASKS}{query}"), &admin).await.ok().clone();
            let tasks = listed["scheduled_tasks"].as_array_mut().expect("tasks");
            // Every server has this one.
            tasks.retain(|task| task["action"] != "forget_client_addresses");
            assert_eq!(listed, json!({ "scheduled_tasks": expected }), "{query}");
        }
        for wrong in ["?status=done", "?max_timestamp=x", "?max_timestamp=-1", "?resource_id=%00", "?action_name=%00"] {
            assert_eq!(server.get(&format!("{TASKS}{wrong}"), &admin).await.refusal(), (400, "M_INVALID_PARAM"));
        }
        assert_eq!(server.get(TASKS, &alice.token).await.refusal(), (403, "M_FORBIDDEN"));
    }
}
