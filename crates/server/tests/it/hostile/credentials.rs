//! Guesses at passwords, tokens and the shared secret, and uses of other users' sessions.

use http::Method;
use plexus_testkit::{TestPlace, places};
use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{post_unauthenticated, with_password};

const CLIENT: &str = "/_matrix/client/v3";

const TOKEN_STAGE: &str = "m.login.registration_token";

/// Every guess that is allowed within a test: nothing comes back in its time.
const FIVE_GUESSES: &str = "
rc_login: {address: {per_second: 1000, burst_count: 10000}, account: {per_second: 1000, burst_count: 10000}, \
           failed_attempts: {per_second: 0.001, burst_count: 5}}
rc_registration_token_validity: {per_second: 0.001, burst_count: 5}
";

async fn on_each(config: &str) -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        servers.push(TestServer::on(place).config(config).start().await);
    }
    servers
}

fn login(user: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user }, "password": password })
}

/// The same request `times` times at once, by connections of their own.
async fn at_once(
    server: &TestServer,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Value,
    times: usize,
) -> Vec<Answer> {
    let mut running = JoinSet::new();
    for _ in 0..times {
        let client = plexus_testkit::Client::new(server.url().to_owned());
        let (method, path, token, body) = (method.clone(), path.to_owned(), token.map(str::to_owned), body.clone());
        running.spawn(async move { client.request(method, &path, token.as_deref(), Some(body)).await });
    }
    running.join_all().await
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_a_password_count_however_they_are_made() {
    for server in on_each(FIVE_GUESSES).await {
        let alice = server.register("alice").await;
        let guesses =
            at_once(&server, Method::POST, &format!("{CLIENT}/login"), None, login("alice", "wrong"), 40).await;
        assert_eq!((count(&guesses, 403), count(&guesses, 429)), (5, 35));
        // Strangers who guess keep nobody from authorising requests.
        let device = format!("{CLIENT}/devices/OTHER");
        let own = with_password(&alice, &Value::Null, json!({}));
        server.request(Method::DELETE, &device, Some(&alice.token), Some(own)).await.ok();

        let bob = server.register("bob").await;
        let session = server.delete(&device, &bob.token).await.body["session"].clone();
        let mut guess = with_password(&bob, &session, json!({}));
        guess["auth"]["password"] = json!("wrong");
        let guesses = at_once(&server, Method::DELETE, &device, Some(&bob.token), guess, 40).await;
        assert_eq!((count(&guesses, 401), count(&guesses, 429)), (5, 35));
        // Who is not there is limited in the same way.
        let path = format!("{CLIENT}/login");
        let guesses = at_once(&server, Method::POST, &path, None, login("nobody", "wrong"), 10).await;
        assert_eq!((count(&guesses, 403), count(&guesses, 429)), (5, 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn right_passwords_use_up_nothing() {
    let server = TestServer::on(TestPlace::sqlite()).config(FIVE_GUESSES).start().await;
    let alice = server.register("alice").await;
    for _ in 0..8 {
        post_unauthenticated(&server, &format!("{CLIENT}/login"), login("alice", "password of alice")).await.ok();
        let body = with_password(&alice, &Value::Null, json!({}));
        server.request(Method::DELETE, &format!("{CLIENT}/devices/X"), Some(&alice.token), Some(body)).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_tokens_cannot_be_guessed_on() {
    for server in on_each(&format!("{FIVE_GUESSES}registration_requires_token: true")).await {
        let register = format!("{CLIENT}/register");
        let body = json!({ "username": "eve", "password": "secret" });
        let session = post_unauthenticated(&server, &register, body.clone()).await.body["session"].clone();
        let mut guess = body.clone();
        guess["auth"] = json!({ "type": TOKEN_STAGE, "token": "guess", "session": session });
        let guesses = at_once(&server, Method::POST, &register, None, guess, 20).await;
        assert_eq!((count(&guesses, 401), count(&guesses, 429)), (5, 15));
        // Nor through the page, or the question.
        let session = session.as_str().unwrap();
        let page = format!("{CLIENT}/auth/{TOKEN_STAGE}/fallback/web?session={session}");
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let form = format!("session={session}&token=guess");
        let sent = server.send(Method::POST, &page, None, &headers, form.into()).await;
        assert_eq!(sent.refusal(), (429, "M_LIMIT_EXCEEDED"));
        let question = format!("/_matrix/client/v1/register/{TOKEN_STAGE}/validity?token=guess");
        let asked = server.request(Method::GET, &question, None, None).await;
        assert_eq!(asked.refusal(), (429, "M_LIMIT_EXCEEDED"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_secret_cannot_be_guessed_on() {
    let server = TestServer::on(TestPlace::sqlite()).config(FIVE_GUESSES).start().await;
    let path = "/_synapse/admin/v1/register";
    let nonce = server.request(Method::GET, path, None, None).await.ok()["nonce"].clone();
    let guess = json!({ "nonce": nonce, "username": "eve", "password": "secret", "admin": true, "mac": "00" });
    let guesses = at_once(&server, Method::POST, path, None, guess, 25).await;
    assert_eq!((count(&guesses, 403), count(&guesses, 429)), (20, 5));
}

async fn delete_session(server: &TestServer, user: &TestUser, device: &str) -> Value {
    server.delete(&format!("{CLIENT}/devices/{device}"), &user.token).await.body["session"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_authorises_one_request() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let path = format!("{CLIENT}/devices/TABLET");
        let session = delete_session(&server, &alice, "TABLET").await;
        let body = with_password(&alice, &session, json!({}));
        let answers = at_once(&server, Method::DELETE, &path, Some(&alice.token), body, 10).await;
        assert_eq!((count(&answers, 200), count(&answers, 400)), (1, 9));
        let again = json!({ "auth": { "session": session } });
        let refused = server.request(Method::DELETE, &path, Some(&alice.token), Some(again)).await;
        assert_eq!(refused.refusal(), (400, "M_UNKNOWN"));

        // One that failed may be made again; one that succeeded may not.
        let path = format!("{CLIENT}/account/password");
        let session = server.post(&path, &alice.token, json!({})).await.body["session"].clone();
        let failed = server.post(&path, &alice.token, with_password(&alice, &session, json!({}))).await;
        assert_eq!(failed.refusal(), (400, "M_MISSING_PARAM"));
        let body = json!({ "new_password": "other", "auth": { "session": session } });
        let answers = at_once(&server, Method::POST, &path, Some(&alice.token), body.clone(), 10).await;
        assert_eq!((count(&answers, 200), count(&answers, 400)), (1, 9));
        assert_eq!(server.post(&path, &alice.token, body).await.refusal(), (400, "M_UNKNOWN"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_answered_again_to_its_user_only() {
    for server in TestServer::on_each().await {
        let register = format!("{CLIENT}/register");
        let body = json!({ "username": "alice", "password": "secret" });
        let session = post_unauthenticated(&server, &register, body.clone()).await.body["session"].clone();
        let mut body = body;
        body["auth"] = json!({ "type": "m.login.dummy", "session": session });
        post_unauthenticated(&server, &register, body.clone()).await.ok();
        assert_eq!(post_unauthenticated(&server, &register, body.clone()).await.ok()["user_id"], "@alice:test.example");
        // Whoever has seen the session, but does not know the password.
        let seen = json!({ "auth": body["auth"] });
        assert_eq!(post_unauthenticated(&server, &register, seen).await.refusal(), (400, "M_MISSING_PARAM"));
        let mut guess = body.clone();
        guess["password"] = json!("guess");
        assert_eq!(post_unauthenticated(&server, &register, guess).await.refusal(), (403, "M_FORBIDDEN"));
        let mut other = body.clone();
        other["username"] = json!("bob");
        assert_eq!(post_unauthenticated(&server, &register, other).await.refusal(), (403, "M_FORBIDDEN"));

        // Without a name one session still makes one account.
        let body = json!({ "password": "secret" });
        let session = post_unauthenticated(&server, &register, body.clone()).await.body["session"].clone();
        let mut body = body;
        body["auth"] = json!({ "type": "m.login.dummy", "session": session });
        let answers = at_once(&server, Method::POST, &register, None, body, 8).await;
        let mut users: Vec<_> = answers.iter().filter_map(|answer| answer.body["user_id"].as_str()).collect();
        users.dedup();
        assert_eq!(users.len(), 1, "{users:?}");
        assert_eq!(count(&answers, 200) + count(&answers, 403), 8);
    }
}
