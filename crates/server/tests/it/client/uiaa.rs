//! User-interactive authentication: what a request is about is given once, with its first stage.

mod get_uiaa_fallback_page;

use http::Method;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::{Value, json};

use crate::admin::register_admin;
use crate::admin::registration_tokens::{TOKENS, TOKENS_NEW};
use crate::client::{LOGIN, REGISTER, WHOAMI, on_each_with, password_login, post_unauthenticated, with_password};

const TOKEN_FLOW: &str = "registration_requires_token: true";

/// Body of a request that goes on with a session: `auth` alone.
fn auth_alone(mut auth: Value, answer: &Answer) -> Value {
    auth["session"] = answer.body["session"].clone();
    json!({ "auth": auth })
}

fn dummy() -> Value {
    json!({ "type": "m.login.dummy" })
}

fn password_of(user: &TestUser) -> Value {
    with_password(user, &Value::Null, json!({}))["auth"].clone()
}

/// The second request of a registration, which must succeed.
async fn registered(server: &TestServer, body: Value) -> Value {
    post_unauthenticated(server, REGISTER, body).await.ok().clone()
}

#[tokio::test]
async fn registration_parameters_are_given_once() {
    for server in TestServer::on_each().await {
        let body = json!({
            "username": "alice", "password": "secret", "device_id": "PHONE", "initial_device_display_name": "Phone",
            "x_unknown": [1],
        });
        let first = post_unauthenticated(&server, REGISTER, body).await;
        assert_eq!(first.status, 401);
        let second = auth_alone(dummy(), &first);
        let answer = registered(&server, second.clone()).await;
        assert_eq!((&answer["user_id"], &answer["device_id"]), (&json!("@alice:test.example"), &json!("PHONE")));
        let device = server.get("/_matrix/client/v3/devices/PHONE", answer["access_token"].as_str().unwrap()).await;
        assert_eq!(device.ok()["display_name"], "Phone");
        assert_eq!(post_unauthenticated(&server, LOGIN, password_login("alice", "secret")).await.status, 200);

        // Who has the session id alone is not let in again.
        assert_eq!(post_unauthenticated(&server, REGISTER, second.clone()).await.refusal(), (400, "M_MISSING_PARAM"));
        let mut guessing = second;
        guessing["password"] = json!("guess");
        assert_ne!(post_unauthenticated(&server, REGISTER, guessing).await.status, 200);
    }
}

#[tokio::test]
async fn a_later_request_gives_what_is_missing_or_wrong() {
    for server in TestServer::on_each().await {
        // Clients ask for the flows with an empty body.
        let flows = post_unauthenticated(&server, REGISTER, json!({})).await;
        let mut body = auth_alone(dummy(), &flows);
        body["username"] = json!("alice");
        body["password"] = json!("secret");
        assert_eq!(registered(&server, body).await["user_id"], "@alice:test.example");

        // Each parameter counts as it was given last.
        let first = post_unauthenticated(&server, REGISTER, json!({ "username": "bob", "password": "first" })).await;
        let mut body = auth_alone(dummy(), &first);
        body["password"] = json!("second");
        assert_eq!(registered(&server, body).await["user_id"], "@bob:test.example");
        assert_eq!(post_unauthenticated(&server, LOGIN, password_login("bob", "second")).await.status, 200);

        let first =
            post_unauthenticated(&server, REGISTER, json!({ "username": "carol", "inhibit_login": true })).await;
        let missing = post_unauthenticated(&server, REGISTER, auth_alone(dummy(), &first)).await;
        assert_eq!(missing.refusal(), (400, "M_MISSING_PARAM"));
        let mut body = auth_alone(dummy(), &first);
        body["password"] = json!("secret");
        assert_eq!(registered(&server, body).await.get("access_token"), None);
        let huge = json!({ "username": "dave", "x": "x".repeat(10_000) });
        assert_eq!(post_unauthenticated(&server, REGISTER, huge).await.refusal(), (413, "M_TOO_LARGE"));
    }
}

#[tokio::test]
async fn parameters_outlast_a_stage_that_fails_and_the_fallback_page() {
    for server in on_each_with(TOKEN_FLOW).await {
        let admin = register_admin(&server).await;
        let made = server.post(TOKENS_NEW, &admin, json!({ "token": "open", "uses_allowed": 2 })).await;
        assert_eq!(made.ok()["pending"], 0);
        let with = |token: &str| json!({ "type": "m.login.registration_token", "token": token });
        let flows = post_unauthenticated(&server, REGISTER, json!({})).await;
        assert_eq!(flows.body["flows"], json!([{ "stages": ["m.login.registration_token"] }]));
        let mut body = auth_alone(with("wrong"), &flows);
        body["username"] = json!("bob");
        body["password"] = json!("secret");
        let refused = post_unauthenticated(&server, REGISTER, body).await;
        assert_eq!(refused.refusal(), (401, "M_UNAUTHORIZED"));
        assert_eq!(registered(&server, auth_alone(with("open"), &refused)).await["user_id"], "@bob:test.example");

        // On the page, after the flows were asked for with an empty body.
        let flows = post_unauthenticated(&server, REGISTER, json!({})).await;
        let session = flows.body["session"].as_str().unwrap();
        assert!(!session.contains("secret"));
        let page = format!("/_matrix/client/v3/auth/m.login.registration_token/fallback/web?session={session}");
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let form = format!("session={session}&token=open");
        assert_eq!(server.send(Method::POST, &page, None, &headers, form.into()).await.status, 200);
        let mut body = auth_alone(json!({}), &flows);
        body["username"] = json!("carol");
        body["password"] = json!("secret");
        assert_eq!(registered(&server, body.clone()).await["user_id"], "@carol:test.example");
        // The answer got lost.
        assert_eq!(registered(&server, body).await["user_id"], "@carol:test.example");
        let used = server.get(&format!("{TOKENS}/open"), &admin).await;
        assert_eq!((&used.ok()["completed"], &used.ok()["pending"]), (&json!(2), &json!(0)));
    }
}

#[tokio::test]
async fn the_new_password_is_given_once() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let other = server.log_in("alice").await;
        let path = "/_matrix/client/v3/account/password";
        let first = server.post(path, &alice.token, json!({ "new_password": "new", "logout_devices": false })).await;
        let wrong = json!({ "type": "m.login.password", "password": "x" });
        assert_eq!(server.post(path, &alice.token, auth_alone(wrong, &first)).await.refusal(), (401, "M_FORBIDDEN"));
        server.post(path, &alice.token, auth_alone(password_of(&alice), &first)).await.ok();
        assert_eq!(post_unauthenticated(&server, LOGIN, password_login("alice", "new")).await.status, 200);
        assert_eq!(server.get(WHOAMI, &other.token).await.status, 200, "logout_devices was given, too");
        let nothing = server.post(path, &alice.token, json!({})).await;
        let mut auth = password_of(&alice);
        auth["password"] = json!("new");
        let refused = server.post(path, &alice.token, auth_alone(auth, &nothing)).await;
        assert_eq!(refused.refusal(), (400, "M_MISSING_PARAM"));
    }
}

#[tokio::test]
async fn devices_and_keys_are_named_once() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let other = server.log_in("alice").await;
        let path = "/_matrix/client/v3/delete_devices";
        let first = server.post(path, &alice.token, json!({ "devices": [other.device_id] })).await;
        server.post(path, &alice.token, auth_alone(password_of(&alice), &first)).await.ok();
        assert_eq!(server.get(WHOAMI, &other.token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));

        let path = "/_matrix/client/v3/keys/device_signing/upload";
        let key = |seed: u8| {
            let key = plexus_protocol::event::sign::SigningKey::generate(&[seed; 32], "x").public_key_base64();
            json!({ "master_key": {
                "user_id": alice.id, "usage": ["master"], "keys": { format!("ed25519:{key}"): key },
            } })
        };
        server.post(path, &alice.token, key(1)).await.ok();
        let first = server.post(path, &alice.token, key(2)).await;
        assert_eq!(first.status, 401);
        server.post(path, &alice.token, auth_alone(password_of(&alice), &first)).await.ok();
        let query = json!({ "device_keys": { &alice.id: [] } });
        let keys = server.post("/_matrix/client/v3/keys/query", &alice.token, query).await;
        assert_eq!(keys.ok()["master_keys"][&alice.id]["keys"], key(2)["master_key"]["keys"]);
    }
}

#[tokio::test]
async fn that_everything_is_to_be_erased_is_said_once() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let path = "/_matrix/client/v3/account/deactivate";
        let first = server.post(path, &alice.token, json!({ "erase": true })).await;
        server.post(path, &alice.token, auth_alone(password_of(&alice), &first)).await.ok();
        let profile = server.get(&format!("/_matrix/client/v3/profile/{}", alice.id), &bob.token).await;
        assert_eq!(profile.body.get("displayname"), None);
    }
}
