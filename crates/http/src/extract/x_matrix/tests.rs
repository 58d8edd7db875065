//! Which requests are taken for whose.

use parking_lot::Mutex;
use std::future::ready;

use axum::middleware::from_fn_with_state;
use http_body_util::BodyExt as _;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::json::Value;
use serde_json::{Value as Json, json};
use tower::ServiceExt as _;

use super::*;
use crate::{BodyReader, Prefixes, Routes};

/// One server that is known, another that is not allowed.
#[derive(Default)]
struct Known {
    heard_from: Mutex<Vec<String>>,
}

impl OtherServers for Known {
    fn keys<'a>(
        &'a self,
        server: &'a ServerName,
        key_ids: BTreeSet<&'a str>,
        _source: Option<IpAddr>,
    ) -> Pin<Box<dyn Future<Output = Result<FoundKeys, TooManySearches>> + Send + 'a>> {
        if server.as_str() == "busy.example" {
            return Box::pin(ready(Err(TooManySearches)));
        }
        if server.as_str() == "hanging.example" {
            return Box::pin(std::future::pending());
        }
        let known = server.as_str() == "there.example" && key_ids.contains("ed25519:1");
        Box::pin(ready(Ok(known.then(|| ("ed25519:1".to_owned(), key().public_key())).into_iter().collect())))
    }

    fn is_allowed(&self, server: &ServerName) -> bool {
        server.as_str() != "denied.example"
    }

    fn heard_from(&self, server: &ServerName) {
        self.heard_from.lock().push(server.to_string());
    }
}

fn key() -> SigningKey {
    SigningKey::generate(&[1; 32], "1")
}

fn name(name: &str) -> ServerName {
    ServerName::try_from(name).unwrap()
}

/// A PUT whose signature `origin` makes with `key` for `destination`, over `signed`.
fn header(origin: &str, destination: &str, key: &SigningKey, signed: &str) -> String {
    let request = x_matrix::Request {
        method: "PUT",
        uri: "/a%20b?c=%2F",
        destination: &name(destination),
        content: Some(&Value::parse(signed).unwrap()),
    };
    XMatrix::sign(&request, &name(origin), key).to_string()
}

struct Answer {
    status: u16,
    body: Json,
    heard_from: Vec<String>,
}

/// The largest body that the route takes.
const LIMIT: usize = 300_000;

fn router(known: &Arc<Known>, body_reader: &Arc<BodyReader>) -> axum::Router {
    let requests = Arc::new(SignedRequests::new(
        name("here.example"),
        Arc::clone(known) as _,
        &FederationLimits { window_size: 1_000, sleep_limit: 100, sleep_delay: 1, reject_limit: 100, concurrent: 100 },
        Clock::manual(0),
    ));
    let mut routes = Routes::new();
    let echo = async |Origin(origin): Origin, crate::Json(body): crate::Json<Json>| {
        crate::JsonBody(json!([origin.as_str(), body]))
    };
    routes.put(Prefixes(&[""]), "/{path}", echo).body_up_to(LIMIT);
    routes.wrapped(|route| route.route_layer(from_fn_with_state(Arc::clone(&requests), signed))).build((), body_reader)
}

async fn put_with(headers: &[String], body: &str) -> Answer {
    let known = Arc::new(Known::default());
    let router = router(&known, &BodyReader::new(Clock::manual(0)));
    let mut request = Request::put("/a%20b?c=%2F");
    for header in headers {
        request = request.header("Authorization", header);
    }
    let answer = router.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let heard_from = known.heard_from.lock().clone();
    Answer { status, body: serde_json::from_slice(&body).unwrap(), heard_from }
}

async fn refusal(headers: &[String], body: &str) -> (u16, String) {
    let answer = put_with(headers, body).await;
    assert_eq!(answer.heard_from, [""; 0]);
    (answer.status, answer.body["errcode"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn signed_requests_are_handed_on() {
    let body = r#"{"b": 1, "a": [1.0e3, "é"]}"#;
    let answer = put_with(&[header("there.example", "here.example", &key(), body)], body).await;
    assert_eq!((answer.status, answer.body), (200, json!(["there.example", { "a": [1000.0, "é"], "b": 1 }])));
    assert_eq!(answer.heard_from, ["there.example"]);
}

#[tokio::test]
async fn one_right_signature_of_several_is_enough() {
    let unknown = SigningKey::generate(&[2; 32], "2");
    let headers = [&unknown, &key()].map(|key| header("there.example", "here.example", key, "{}"));
    assert_eq!(put_with(&headers, "{}").await.status, 200);
    let others = ["there.example", "denied.example"].map(|origin| header(origin, "here.example", &key(), "{}"));
    assert_eq!(refusal(&others, "{}").await, (401, "M_UNAUTHORIZED".into()));
}

#[tokio::test]
async fn wrong_signatures_are_refused() {
    let unauthorized = (401, "M_UNAUTHORIZED".to_owned());
    let ours = |key: &SigningKey| header("there.example", "here.example", key, "{}");
    assert_eq!(refusal(&[], "{}").await, unauthorized);
    assert_eq!(refusal(&["Bearer x".to_owned()], "{}").await, unauthorized);
    assert_eq!(refusal(&[ours(&SigningKey::generate(&[2; 32], "1"))], "{}").await, unauthorized);
    assert_eq!(refusal(&[ours(&SigningKey::generate(&[1; 32], "2"))], "{}").await, unauthorized);
    assert_eq!(refusal(&[ours(&key())], r#"{"a":1}"#).await, unauthorized);
    assert_eq!(refusal(&[header("there.example", "else.example", &key(), "{}")], "{}").await, unauthorized);
    assert_eq!(refusal(&[header("other.example", "here.example", &key(), "{}")], "{}").await, unauthorized);
    let denied = header("denied.example", "here.example", &key(), "{}");
    assert_eq!(refusal(&[denied], "{}").await, (403, "M_FORBIDDEN".into()));
}

#[tokio::test]
async fn bodies_are_objects() {
    let header = [header("there.example", "here.example", &key(), "{}")];
    for body in ["", "[]", "{", "null"] {
        assert_eq!(refusal(&header, body).await, (400, "M_NOT_JSON".into()), "{body}");
    }
}

/// A body that says when it is read from.
fn watched(read: &Arc<std::sync::atomic::AtomicBool>) -> Body {
    let read = Arc::clone(read);
    Body::from_stream(futures_util::stream::once(async move {
        read.store(true, std::sync::atomic::Ordering::SeqCst);
        Ok::<_, std::convert::Infallible>(bytes::Bytes::from_static(b"{}"))
    }))
}

#[tokio::test]
async fn no_body_is_read_before_the_key_is_found() {
    let (known, body_reader) = (Arc::new(Known::default()), BodyReader::new(Clock::manual(0)));
    for (origin, status) in [("other.example", Some(401)), ("busy.example", Some(429)), ("hanging.example", None)] {
        let read = Arc::default();
        let request =
            Request::put("/a%20b?c=%2F").header("Authorization", header(origin, "here.example", &key(), "{}"));
        let answer = router(&known, &body_reader).oneshot(request.body(watched(&read)).unwrap());
        let answer = tokio::select! {
            biased;
            answer = answer => Some(answer.unwrap().status().as_u16()),
            () = tokio::task::yield_now() => None,
        };
        assert_eq!(answer, status, "{origin}");
        assert!(!read.load(std::sync::atomic::Ordering::SeqCst), "{origin}");
    }
}

#[tokio::test]
async fn a_signed_body_is_bounded_by_its_route_not_by_that_of_strangers() {
    let body = json!({ "a": "x".repeat(LIMIT - 20) }).to_string();
    assert_eq!(put_with(&[header("there.example", "here.example", &key(), &body)], &body).await.status, 200);
    let body = json!({ "a": "x".repeat(LIMIT) }).to_string();
    let header = header("there.example", "here.example", &key(), &body);
    assert_eq!(refusal(&[header], &body).await, (413, "M_TOO_LARGE".into()));
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<usize>>);

impl std::io::Write for Warnings {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        *self.0.lock() += usize::from(String::from_utf8_lossy(line).contains("changes the paths of requests"));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_server_does_not_fill_the_log_with_paths_that_seem_changed() {
    let warnings = Warnings::default();
    let writer = warnings.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let known = Arc::new(Known::default());
    let router = router(&known, &BodyReader::new(Clock::manual(0)));
    for _ in 0..20 {
        let header = header("there.example", "here.example", &key(), "{}");
        let request = Request::put("/%61%20b?c=%2F").header("Authorization", header);
        let answer = router.clone().oneshot(request.body(Body::from("{}")).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(*warnings.0.lock(), 1);
}

#[test]
fn what_a_proxy_decoded_is_encoded_again() {
    for (arrived, sent) in [
        ("/_matrix/federation/v1/event/$a%2Fb", "/_matrix/federation/v1/event/%24a%2Fb"),
        ("/state/!room:a.example?event_id=$x/y", "/state/%21room%3Aa.example?event_id=$x/y"),
        ("/%24a%2fb", "/%24a%2Fb"),
        ("/a%25b~c", "/a%25b~c"),
        ("/", "/"),
    ] {
        assert_eq!(with_encoded_segments(arrived), sent);
    }
}
