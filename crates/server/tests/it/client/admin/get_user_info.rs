//! `GET /admin/whois/{userId}`.

use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::Value;

use super::servers;

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
