//! Registration tokens.

use std::time::Duration;

use http::Method;
use plexus_base::Clock;
use plexus_testkit::places;
use plexus_testkit::server::{Answer, TestServer};
use serde_json::{Value, json};

use crate::admin::register_admin;

pub(crate) const TOKENS: &str = "/_synapse/admin/v1/registration_tokens";

pub(crate) const TOKENS_NEW: &str = "/_synapse/admin/v1/registration_tokens/new";

async fn new(server: &TestServer, admin: &str, body: Value) -> Answer {
    server.post(TOKENS_NEW, admin, body).await
}

#[tokio::test]
async fn tokens_are_made_shown_changed_and_deleted() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let admin = register_admin(&server).await;
        let made = new(&server, &admin, json!({})).await;
        let name = made.ok()["token"].as_str().unwrap().to_owned();
        assert_eq!(name.len(), 16);
        let expected = json!({
            "token": name, "uses_allowed": null, "pending": 0, "completed": 0, "expiry_time": null,
        });
        assert_eq!(made.ok(), &expected);
        assert_eq!(new(&server, &admin, json!({ "length": 64 })).await.ok()["token"].as_str().map(str::len), Some(64));
        let given = json!({ "token": "a._~-9", "uses_allowed": 1, "expiry_time": 1_700_000_060_000_u64 });
        let made = new(&server, &admin, given).await;
        assert_eq!((&made.ok()["uses_allowed"], &made.ok()["expiry_time"]), (&json!(1), &json!(1_700_000_060_000_u64)));
        assert_eq!(new(&server, &admin, json!({ "token": "a._~-9" })).await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(new(&server, &admin, json!({ "token": "x".repeat(64), "uses_allowed": 0 })).await.status, 200);

        let path = format!("{TOKENS}/a._~-9");
        assert_eq!(server.get(&path, &admin).await.ok(), made.ok());
        let names = async |query: &str| {
            let list = server.get(&format!("{TOKENS}{query}"), &admin).await.ok().clone();
            let tokens = list["registration_tokens"].as_array().unwrap().clone();
            tokens.iter().map(|token| token["token"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("").await.len(), 4);
        assert_eq!(names("?valid=false").await, ["x".repeat(64)]);
        clock.advance(Duration::from_secs(60));
        assert_eq!(names("?valid=false").await, ["a._~-9".to_owned(), "x".repeat(64)]);
        assert_eq!(names("?valid=true").await.len(), 2);

        let changed = server.put(&path, &admin, json!({ "expiry_time": null })).await;
        assert_eq!((&changed.ok()["uses_allowed"], &changed.ok()["expiry_time"]), (&json!(1), &Value::Null));
        assert_eq!(server.put(&path, &admin, json!({})).await.ok(), changed.ok());
        assert_eq!(server.put(&path, &admin, json!({ "uses_allowed": 5 })).await.ok()["uses_allowed"], 5);
        assert_eq!(server.delete(&path, &admin).await.ok(), &json!({}));
        for answer in [
            server.get(&path, &admin).await,
            server.put(&path, &admin, json!({ "uses_allowed": 5 })).await,
            server.delete(&path, &admin).await,
        ] {
            assert_eq!(answer.refusal(), (404, "M_NOT_FOUND"));
            assert_eq!(answer.body["error"], "No such registration token: a._~-9");
        }
    }
}

#[tokio::test]
async fn invalid_tokens_and_users_without_admin_rights_are_refused() {
    for server in TestServer::on_each().await {
        let (admin, alice) = (register_admin(&server).await, server.register("alice").await);
        for body in [
            json!({ "token": 5 }),
            json!({ "token": null }),
            json!({ "token": "" }),
            json!({ "token": "x".repeat(65) }),
            json!({ "token": "with space" }),
            json!({ "token": "ünïcode" }),
            json!({ "length": 0 }),
            json!({ "length": -1 }),
            json!({ "length": 65 }),
            json!({ "length": 1.5 }),
            json!({ "length": "16" }),
            json!({ "uses_allowed": -1 }),
            json!({ "uses_allowed": 1.0 }),
            json!({ "uses_allowed": true }),
            json!({ "uses_allowed": u64::MAX }),
            json!({ "expiry_time": 1 }),
            json!({ "expiry_time": -1 }),
            json!({ "expiry_time": "never" }),
        ] {
            assert_eq!(new(&server, &admin, body.clone()).await.refusal(), (400, "M_INVALID_PARAM"), "{body}");
        }
        new(&server, &admin, json!({ "token": "t" })).await.ok();
        let path = format!("{TOKENS}/t");
        for body in [json!({ "uses_allowed": -1 }), json!({ "expiry_time": 1 }), json!({ "expiry_time": 1.5 })] {
            assert_eq!(server.put(&path, &admin, body.clone()).await.refusal(), (400, "M_INVALID_PARAM"), "{body}");
        }
        let valid = server.get(&format!("{TOKENS}?valid=maybe"), &admin).await;
        assert_eq!(valid.refusal(), (400, "M_INVALID_PARAM"));
        for (method, path, body) in [
            (Method::GET, TOKENS.to_owned(), None),
            (Method::POST, TOKENS_NEW.to_owned(), Some(json!({}))),
            (Method::GET, path.clone(), None),
            (Method::PUT, path.clone(), Some(json!({}))),
            (Method::DELETE, path.clone(), None),
        ] {
            let answer = server.request(method.clone(), &path, Some(&alice.token), body.clone()).await;
            assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"), "{method} {path}");
            let answer = server.request(method.clone(), &path, None, body).await;
            assert_eq!(answer.refusal(), (401, "M_MISSING_TOKEN"), "{method} {path}");
        }
    }
}
