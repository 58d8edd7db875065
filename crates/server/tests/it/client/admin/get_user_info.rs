//! `GET /admin/whois/{userId}`.

use std::time::Duration;

use plexus_base::Clock;
use plexus_testkit::places;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::Value;

use super::servers;
use crate::client::{LOGIN, WHOAMI, password_login, post_unauthenticated};

async fn whois(server: &TestServer, by: &TestUser, user: &str) -> Answer {
    server.get(&format!("/_matrix/client/v3/admin/whois/{user}"), &by.token).await
}

fn last_use<'a>(answer: &'a Value, user: &TestUser) -> &'a Value {
    &answer["devices"][&user.device_id]["sessions"][0]["connections"][0]
}

#[tokio::test]
async fn users_learn_of_their_own_devices_and_administrators_of_all() {
    for (server, admin) in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let own = whois(&server, &alice, &alice.id).await.ok().clone();
        assert_eq!(own["user_id"], alice.id.as_str());
        assert!(last_use(&own, &alice)["last_seen"].is_u64(), "{own}");
        let seen = whois(&server, &admin, &alice.id).await.ok().clone();
        assert_eq!(seen["devices"].as_object().map(serde_json::Map::len), Some(1));
        assert!(last_use(&seen, &alice)["last_seen"].is_u64(), "{seen}");
        assert_eq!(whois(&server, &bob, &alice.id).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(whois(&server, &bob, "@nobody:test.example").await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(whois(&server, &admin, "@nobody:test.example").await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(whois(&server, &admin, "@bob:elsewhere.example").await.refusal(), (400, "M_INVALID_PARAM"));
    }
}

#[tokio::test]
async fn addresses_are_forgotten_after_a_time() {
    const DAY: Duration = Duration::from_secs(86_400);
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let config = "user_ips_max_age: 10d";
        let server = TestServer::on(place).clock(clock.clone()).config(config).start().await;
        let alice = server.register("alice").await;
        let login = post_unauthenticated(&server, LOGIN, password_login("alice", "password of alice")).await;
        let (other_device, token) = (&login.ok()["device_id"], login.body["access_token"].as_str().unwrap());
        server.get(WHOAMI, token).await.ok();
        let connection = async || -> Value {
            let shown = whois(&server, &alice, &alice.id).await;
            shown.ok()["devices"][other_device.as_str().unwrap()]["sessions"][0]["connections"][0].clone()
        };
        assert!(connection().await["ip"].is_string());
        // Between memory and the database nothing is shown for a moment.
        let is_forgotten = |shown: &Value| shown["last_seen"].is_u64() && shown["ip"].is_null();
        let mut days = 0;
        let mut ticks = plexus_testkit::every(Duration::from_millis(20));
        let forgotten = async {
            while !is_forgotten(&connection().await) {
                clock.advance(DAY);
                days += 1;
                ticks.tick().await;
            }
        };
        plexus_testkit::within(Duration::from_secs(30), forgotten).await.expect("it is forgotten");
        assert!(days > 10, "forgotten after {days} days");
        let connection = connection().await;
        assert!(connection["last_seen"].is_u64(), "the time is kept: {connection}");
        assert_eq!(connection["user_agent"], Value::Null);
        assert!(last_use(whois(&server, &alice, &alice.id).await.ok(), &alice)["ip"].is_string(), "it is in use");
    }
}
