//! Registration, login and sessions.

mod steps;
mod tokens;

use std::time::Duration;

use http::Method;
use plexus_accounts::{SignedRegistration, shared_secret_mac};
use plexus_base::Clock;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{TestPlace, places};
use serde_json::{Value, json};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

const TOKENS: &str = "/_synapse/admin/v1/registration_tokens";
const TOKENS_NEW: &str = "/_synapse/admin/v1/registration_tokens/new";

/// The access token of a new administrator.
pub(crate) async fn admin(server: &TestServer) -> String {
    let path = "/_synapse/admin/v1/register";
    let nonce = get(server, path).await.ok()["nonce"].as_str().unwrap_or_default().to_owned();
    let (username, password) = ("admin", "password of admin");
    let signed = SignedRegistration { nonce: &nonce, username, password, is_admin: true, user_type: None };
    let mac = shared_secret_mac("shared", signed);
    let body = json!({ "nonce": nonce, "username": username, "password": password, "admin": true, "mac": mac });
    post(server, path, body).await.ok()["access_token"].as_str().unwrap_or_default().to_owned()
}

/// POST without an access token.
pub(crate) async fn post(server: &TestServer, path: &str, body: Value) -> Answer {
    server.request(Method::POST, path, None, Some(body)).await
}

/// GET without an access token.
async fn get(server: &TestServer, path: &str) -> Answer {
    server.request(Method::GET, path, None, None).await
}

/// The body of a request that the user authenticates with the password.
pub(crate) fn with_password(user: &TestUser, session: &Value, mut body: Value) -> Value {
    let name = user.id.trim_start_matches('@').split(':').next().unwrap_or_default();
    body["auth"] = json!({
        "type": "m.login.password",
        "session": session,
        "identifier": { "type": "m.id.user", "user": name },
        "password": format!("password of {name}"),
    });
    body
}

fn password_login(user: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    })
}

async fn on_each(config: &str) -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        servers.push(TestServer::on(place).config(config).start().await);
    }
    servers
}

#[tokio::test]
async fn registration_in_two_steps() {
    for server in TestServer::on_each().await {
        let body = json!({ "username": "alice", "password": "secret", "initial_device_display_name": "Phone" });
        let first = post(&server, REGISTER, body.clone()).await;
        assert_eq!(first.status, 401);
        assert_eq!(first.body["flows"], json!([{ "stages": ["m.login.dummy"] }]));
        assert_eq!(first.body["params"], json!({}));
        let mut body = body;
        body["auth"] = json!({ "type": "m.login.dummy", "session": first.body["session"] });
        let answer = post(&server, REGISTER, body.clone()).await;
        let registered = answer.ok();
        assert_eq!(registered["user_id"], "@alice:test.example");
        assert_eq!(registered["home_server"], "test.example");
        let token = registered["access_token"].as_str().unwrap();
        let me = server.get(WHOAMI, token).await;
        let expected = json!({
            "user_id": "@alice:test.example", "device_id": registered["device_id"], "is_guest": false,
        });
        assert_eq!(me.ok(), &expected);
        let devices = server.get("/_matrix/client/v3/devices", token).await;
        assert_eq!(devices.ok()["devices"][0]["display_name"], "Phone");

        // The same session again: the answer got lost.
        let again = post(&server, REGISTER, body).await;
        assert_eq!(again.ok()["user_id"], "@alice:test.example");
        let taken = post(&server, REGISTER, json!({ "username": "Alice", "password": "x" })).await;
        assert_eq!(taken.refusal(), (400, "M_USER_IN_USE"));
    }
}

#[tokio::test]
async fn registration_refuses_invalid_accounts() {
    for server in TestServer::on_each().await {
        let auth = json!({ "type": "m.login.dummy" });
        for (body, expected) in [
            (json!({ "username": "a b" }), (400, "M_INVALID_USERNAME")),
            (json!({ "username": "123" }), (400, "M_INVALID_USERNAME")),
            (json!({ "username": "_x" }), (400, "M_INVALID_USERNAME")),
            (json!({ "username": 5 }), (400, "M_BAD_JSON")),
            (json!({ "password": ["x"] }), (400, "M_BAD_JSON")),
            (json!({ "auth": "dummy" }), (400, "M_BAD_JSON")),
            (json!({ "username": "alice", "auth": auth }), (400, "M_MISSING_PARAM")),
            (json!({ "password": "", "auth": auth }), (400, "M_INVALID_PARAM")),
            (json!({ "auth": { "type": "m.login.recaptcha" } }), (400, "M_UNRECOGNIZED")),
            (json!({ "auth": { "type": "m.login.dummy", "session": "nonsense" } }), (400, "M_UNKNOWN")),
            (json!({ "password": "x", "device_id": "a\u{0}", "auth": auth }), (400, "M_INVALID_PARAM")),
        ] {
            let answer = post(&server, REGISTER, body.clone()).await;
            assert_eq!(answer.refusal(), expected, "{body}");
        }
        let kind = post(&server, &format!("{REGISTER}?kind=robot"), json!({})).await;
        assert_eq!(kind.refusal(), (400, "M_INVALID_PARAM"));
        let guest = post(&server, &format!("{REGISTER}?kind=guest"), json!({})).await;
        assert_eq!(guest.refusal(), (403, "M_FORBIDDEN"));
        let available = get(&server, &format!("{REGISTER}/available?username=carol")).await;
        assert_eq!(available.ok(), &json!({ "available": true }));
        assert_eq!(get(&server, &format!("{REGISTER}/available")).await.refusal(), (400, "M_MISSING_PARAM"));
        assert_eq!(
            get(&server, &format!("{REGISTER}/available?username=a%20b")).await.refusal().1,
            "M_INVALID_USERNAME"
        );
        let email = post(&server, &format!("{REGISTER}/email/requestToken"), json!({})).await;
        assert_eq!(email.refusal(), (400, "M_MISSING_PARAM"));
    }
}

#[tokio::test]
async fn registration_is_closed_by_default() {
    let server = TestServer::on(TestPlace::sqlite())
        .config("enable_registration: false\nallow_guest_access: true")
        .start()
        .await;
    let closed = post(&server, REGISTER, json!({ "username": "alice", "password": "x" })).await;
    assert_eq!(closed.refusal(), (403, "M_FORBIDDEN"));
    assert_eq!(get(&server, &format!("{REGISTER}/available?username=a")).await.refusal(), (403, "M_FORBIDDEN"));
    let guest = post(&server, &format!("{REGISTER}?kind=guest"), json!({})).await;
    let token = guest.ok()["access_token"].as_str().unwrap();
    assert_eq!(server.get(WHOAMI, token).await.ok()["is_guest"], true);
    let refused = server.get("/_matrix/client/v3/account/3pid", token).await;
    assert_eq!(refused.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"));
}

#[tokio::test]
async fn the_fallback_page_completes_a_stage() {
    let server = TestServer::sqlite().await;
    let body = json!({ "username": "alice", "password": "secret" });
    let first = post(&server, REGISTER, body.clone()).await;
    let session = first.body["session"].as_str().unwrap();
    let page = format!("/_matrix/client/v3/auth/m.login.dummy/fallback/web?session={session}");
    let shown = get(&server, &page).await;
    assert_eq!(shown.status, 200);
    assert!(shown.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    let form = format!("session={session}");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let sent = server.send(Method::POST, &page, None, &headers, form.into()).await;
    assert!(String::from_utf8_lossy(&sent.bytes).contains("onAuthDone"));
    let mut body = body;
    body["auth"] = json!({ "session": session });
    assert_eq!(post(&server, REGISTER, body).await.ok()["user_id"], "@alice:test.example");

    let unknown = get(&server, "/_matrix/client/v3/auth/m.login.dummy/fallback/web?session=x").await;
    assert_eq!(unknown.refusal(), (400, "M_UNKNOWN"));
    let stage = get(&server, "/_matrix/client/v3/auth/m.login.sso/fallback/web?session=x").await;
    assert_eq!(stage.refusal(), (400, "M_UNRECOGNIZED"));
}

#[tokio::test]
async fn login_by_password() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        assert_eq!(get(&server, LOGIN).await.ok(), &json!({ "flows": [{ "type": "m.login.password" }] }));
        let mut body = password_login("alice", "password of alice");
        body["device_id"] = json!("PHONE");
        let answer = post(&server, LOGIN, body).await;
        assert_eq!((&answer.ok()["user_id"], &answer.ok()["device_id"]), (&json!(alice.id), &json!("PHONE")));
        assert!(answer.ok().get("expires_in_ms").is_none());
        let legacy = json!({ "type": "m.login.password", "user": alice.id, "password": "password of alice" });
        assert_eq!(post(&server, LOGIN, legacy).await.ok()["user_id"], json!(alice.id));

        for (body, expected) in [
            (password_login("alice", "wrong"), (403, "M_FORBIDDEN")),
            (password_login("nobody", "x"), (403, "M_FORBIDDEN")),
            (password_login("@alice:elsewhere", "password of alice"), (403, "M_FORBIDDEN")),
            (password_login("a\u{0}b", "x"), (403, "M_FORBIDDEN")),
            (json!({ "type": "m.login.password", "user": "alice" }), (400, "M_MISSING_PARAM")),
            (json!({ "type": "m.login.password", "password": "x" }), (400, "M_MISSING_PARAM")),
            (json!({ "type": "m.login.token", "token": "x" }), (400, "M_UNKNOWN")),
            (json!({ "type": "nonsense" }), (400, "M_UNKNOWN")),
            (json!({}), (400, "M_MISSING_PARAM")),
            (json!({ "type": 1 }), (400, "M_BAD_JSON")),
        ] {
            let answer = post(&server, LOGIN, body.clone()).await;
            assert_eq!(answer.refusal(), expected, "{body}");
        }
    }
}

#[tokio::test]
async fn logging_out() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let login = post(&server, LOGIN, password_login("alice", "password of alice")).await;
        let other = login.ok()["access_token"].as_str().unwrap();
        assert_eq!(server.post("/_matrix/client/v3/logout", other, json!({})).await.ok(), &json!({}));
        let gone = server.get(WHOAMI, other).await;
        assert_eq!((gone.refusal(), &gone.body["soft_logout"]), ((401, "M_UNKNOWN_TOKEN"), &json!(false)));
        assert_eq!(server.get(WHOAMI, &alice.token).await.status, 200);
        server.post("/_matrix/client/v3/logout/all", &alice.token, json!({})).await.ok();
        assert_eq!(server.get(WHOAMI, &alice.token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
    }
}

#[tokio::test]
async fn refreshing() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        server.register("alice").await;
        let mut body = password_login("alice", "password of alice");
        body["refresh_token"] = json!(true);
        let login = post(&server, LOGIN, body).await;
        assert_eq!(login.ok()["expires_in_ms"], 300_000);
        let (token, refresh) = (login.body["access_token"].as_str().unwrap(), &login.body["refresh_token"]);
        clock.advance(Duration::from_secs(300));
        let expired = server.get(WHOAMI, token).await;
        assert_eq!((expired.refusal(), &expired.body["soft_logout"]), ((401, "M_UNKNOWN_TOKEN"), &json!(true)));
        let path = "/_matrix/client/v3/refresh";
        let refreshed = post(&server, path, json!({ "refresh_token": refresh })).await;
        let token = refreshed.ok()["access_token"].as_str().unwrap();
        assert_eq!(server.get(WHOAMI, token).await.status, 200);
        assert_eq!(post(&server, path, json!({ "refresh_token": refresh })).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        assert_eq!(post(&server, path, json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
    }
}

#[tokio::test]
async fn rate_limits() {
    let config = "
rc_login:
  address: {per_second: 0.1, burst_count: 8}
  account: {per_second: 1000, burst_count: 1000}
  failed_attempts: {per_second: 0.1, burst_count: 3}
rc_registration: {per_second: 0.1, burst_count: 2}
";
    for server in on_each(config).await {
        for name in ["alice", "bob"] {
            server.register(name).await;
        }
        let third = json!({ "username": "carol", "password": "x", "auth": { "type": "m.login.dummy" } });
        assert_eq!(post(&server, REGISTER, third).await.refusal(), (429, "M_LIMIT_EXCEEDED"));
        for _ in 0..3 {
            assert_eq!(post(&server, LOGIN, password_login("alice", "x")).await.refusal(), (403, "M_FORBIDDEN"));
        }
        // Also with the right password, or somebody could try on; and by whatever form of the name.
        let limited = post(&server, LOGIN, password_login("@ALICE:test.example", "password of alice")).await;
        assert_eq!(limited.refusal(), (429, "M_LIMIT_EXCEEDED"));
        assert!(limited.body["retry_after_ms"].as_u64().unwrap() > 0);
        assert!(limited.headers.contains_key("retry-after"));
        // Other users are not kept out, until the address's own limit.
        for _ in 0..4 {
            post(&server, LOGIN, password_login("bob", "password of bob")).await.ok();
        }
        let address = post(&server, LOGIN, password_login("bob", "password of bob")).await;
        assert_eq!(address.refusal(), (429, "M_LIMIT_EXCEEDED"));
    }
}

#[tokio::test]
async fn changing_the_password() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let other = post(&server, LOGIN, password_login("alice", "password of alice")).await;
        let other = other.ok()["access_token"].as_str().unwrap();
        let path = "/_matrix/client/v3/account/password";
        let body = json!({ "new_password": "new" });
        let first = server.post(path, &alice.token, body.clone()).await;
        assert_eq!((first.status, &first.body["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
        let mut wrong = with_password(&alice, &first.body["session"], body.clone());
        wrong["auth"]["password"] = json!("x");
        let refused = server.post(path, &alice.token, wrong).await;
        assert_eq!(refused.refusal(), (401, "M_FORBIDDEN"));
        assert_eq!(refused.body["session"], first.body["session"]);
        server.post(path, &alice.token, with_password(&alice, &first.body["session"], body)).await.ok();
        assert_eq!(server.get(WHOAMI, other).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        assert_eq!(server.get(WHOAMI, &alice.token).await.status, 200);
        assert_eq!(post(&server, LOGIN, password_login("alice", "new")).await.status, 200);
        assert_eq!(post(&server, LOGIN, password_login("alice", "password of alice")).await.status, 403);
        let weak = server.post(path, &alice.token, json!({ "new_password": "" })).await;
        assert_eq!(weak.refusal(), (400, "M_INVALID_PARAM"));
    }
}

#[tokio::test]
async fn deactivation_leaves_the_rooms() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = server.post("/_matrix/client/v3/createRoom", &bob.token, json!({ "preset": "public_chat" })).await;
        let room = room.ok()["room_id"].as_str().unwrap().to_owned();
        server.post(&format!("/_matrix/client/v3/join/{room}"), &alice.token, json!({})).await.ok();
        let path = "/_matrix/client/v3/account/deactivate";
        let first = server.post(path, &alice.token, json!({})).await;
        assert_eq!(first.status, 401);
        let body = with_password(&alice, &first.body["session"], json!({}));
        let answer = server.post(path, &alice.token, body).await;
        assert_eq!(answer.ok()["id_server_unbind_result"], "success");
        assert_eq!(server.get(WHOAMI, &alice.token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        let login = post(&server, LOGIN, password_login("alice", "password of alice")).await;
        assert_eq!(login.refusal(), (403, "M_FORBIDDEN"));
        let taken = post(&server, REGISTER, json!({ "username": "alice", "password": "x" })).await;
        assert_eq!(taken.refusal(), (400, "M_USER_IN_USE"));
        // Bob sees it without asking twice: the long poll ends with the leave.
        let mut since = String::new();
        loop {
            let sync = server.get(&format!("/_matrix/client/v3/sync?timeout=30000{since}"), &bob.token).await;
            let left = format!(r#""state_key":"{}""#, alice.id);
            let text = sync.ok()["rooms"]["join"][&room].to_string();
            if text.contains(&left) && text.contains(r#""membership":"leave""#) {
                break;
            }
            since = format!("&since={}", sync.ok()["next_batch"].as_str().unwrap());
        }
    }
}

#[tokio::test]
async fn a_session_can_let_another_device_in() {
    for server in on_each("login_via_existing_session: {enabled: true, require_ui_auth: true, token_timeout: 2m}").await
    {
        let alice = server.register("alice").await;
        let flows = get(&server, LOGIN).await;
        assert_eq!(flows.ok()["flows"][0], json!({ "type": "m.login.token", "get_login_token": true }));
        let path = "/_matrix/client/v1/login/get_token";
        let first = server.post(path, &alice.token, json!({})).await;
        assert_eq!(first.status, 401);
        let answer = server.post(path, &alice.token, with_password(&alice, &first.body["session"], json!({}))).await;
        assert_eq!(answer.ok()["expires_in_ms"], 120_000);
        let body = json!({ "type": "m.login.token", "token": answer.body["login_token"] });
        assert_eq!(post(&server, LOGIN, body.clone()).await.ok()["user_id"], json!(alice.id));
        assert_eq!(post(&server, LOGIN, body).await.refusal(), (403, "M_FORBIDDEN"));
    }
}

#[tokio::test]
async fn identity_for_others_and_addresses() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let path = |user: &str| format!("/_matrix/client/v3/user/{user}/openid/request_token");
        let token = server.post(&path(&alice.id), &alice.token, json!({})).await;
        assert_eq!(token.ok()["matrix_server_name"], "test.example");
        let other = server.post(&path("@bob:test.example"), &alice.token, json!({})).await;
        assert_eq!(other.refusal(), (403, "M_FORBIDDEN"));
        let stored = server.get("/_matrix/client/v3/account/3pid", &alice.token).await;
        assert_eq!(stored.ok(), &json!({ "threepids": [] }));
        let add = json!({ "client_secret": "x", "sid": "1" });
        let added = server.post("/_matrix/client/v3/account/3pid/add", &alice.token, add).await;
        assert_eq!(added.refusal(), (400, "M_THREEPID_AUTH_FAILED"));
    }
}

#[tokio::test]
async fn devices() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let login = post(&server, LOGIN, password_login("alice", "password of alice")).await;
        let other = login.ok()["device_id"].as_str().unwrap();
        let path = format!("/_matrix/client/v3/devices/{other}");
        server.put(&path, &alice.token, json!({ "display_name": "Tablet" })).await.ok();
        let shown = server.get(&path, &alice.token).await;
        assert_eq!((&shown.ok()["display_name"], &shown.ok()["device_id"]), (&json!("Tablet"), &json!(other)));
        let long = server.put(&path, &alice.token, json!({ "display_name": "x".repeat(101) })).await;
        assert_eq!(long.refusal(), (400, "M_TOO_LARGE"));
        let unknown = "/_matrix/client/v3/devices/NOPE";
        assert_eq!(server.get(unknown, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(server.put(unknown, &alice.token, json!({ "display_name": "x" })).await.refusal().0, 404);
        let no_id = server.get("/_matrix/client/v3/devices/a%00", &alice.token).await;
        assert_eq!(no_id.refusal(), (400, "M_INVALID_PARAM"));

        let first = server.delete(&path, &alice.token).await;
        assert_eq!(first.status, 401);
        let body = with_password(&alice, &first.body["session"], json!({}));
        server.request(Method::DELETE, &path, Some(&alice.token), Some(body)).await.ok();
        assert_eq!(server.get(&path, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        let token = login.body["access_token"].as_str().unwrap();
        assert_eq!(server.get(WHOAMI, token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));

        let bulk = "/_matrix/client/v3/delete_devices";
        assert_eq!(server.post(bulk, &alice.token, json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
        let body = json!({ "devices": [alice.device_id, "NOPE"] });
        let first = server.post(bulk, &alice.token, body.clone()).await;
        let body = with_password(&alice, &first.body["session"], body);
        server.post(bulk, &alice.token, body).await.ok();
        assert_eq!(server.get(WHOAMI, &alice.token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
    }
}
