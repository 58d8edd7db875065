//! The parts of a response that are the same for all endpoints.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use plexus_base::Clock;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{ApiError, BodyReader, Json, JsonBody, Path, Prefixes, Query, Routes, frame};

const TEST: Prefixes = Prefixes(&["/v1", "/r0"]);

#[derive(Deserialize)]
struct StatePath {
    room_id: String,
    #[serde(default)]
    state_key: String,
}

#[derive(Deserialize)]
struct Body1 {
    number: u8,
}

#[derive(Deserialize)]
struct Query1 {
    needed: u8,
    #[serde(default)]
    via: Vec<String>,
}

fn routes() -> Routes<()> {
    async fn state(Path(path): Path<StatePath>) -> JsonBody<Value> {
        JsonBody(json!([path.room_id, path.state_key]))
    }
    let mut r = Routes::new();
    r.get(TEST, "/state/{room_id}", state);
    r.get(TEST, "/state/{room_id}/", state);
    r.get(TEST, "/state/{room_id}/{state_key}", state);
    r.put(TEST, "/body", async |Json(body): Json<Body1>| JsonBody(body.number));
    r.get(TEST, "/query", async |Query(query): Query<Query1>| JsonBody(json!([query.needed, query.via])));
    r.get(TEST, "/panic", async || -> Response { panic!("on purpose") });
    r.get(TEST, "/limited", async || ApiError::limit_exceeded(1_500).into_response());
    r
}

async fn ask(method: Method, path: &str, body: impl Into<Body>) -> (StatusCode, http::HeaderMap, Value) {
    let router = frame(routes().build((), &BodyReader::new(Clock::manual(0))), Clock::manual(0), probes());
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
}

async fn refusal(method: Method, path: &str, body: impl Into<Body>) -> (u16, String) {
    let (status, headers, body) = ask(method, path, body).await;
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert_eq!(headers["content-type"], "application/json");
    (status.as_u16(), body["errcode"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn unknown_endpoints_and_methods() {
    assert_eq!(refusal(Method::GET, "/nowhere", "").await, (404, "M_UNRECOGNIZED".into()));
    assert_eq!(refusal(Method::POST, "/v1/body", "{}").await, (405, "M_UNRECOGNIZED".into()));
}

#[tokio::test]
async fn options_needs_no_handler() {
    for path in ["/v1/body", "/nowhere"] {
        let (status, headers, _) = ask(Method::OPTIONS, path, "").await;
        assert_eq!(status, 200);
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["access-control-allow-methods"], "GET, POST, PUT, DELETE, OPTIONS");
        let allowed = "X-Requested-With, Content-Type, Authorization";
        assert_eq!(headers["access-control-allow-headers"], allowed);
    }
}

#[tokio::test]
async fn bodies() {
    assert_eq!(ask(Method::PUT, "/r0/body", r#" {"number": 7}"#).await.2, json!(7));
    let put = async |body: &'static str| refusal(Method::PUT, "/v1/body", body).await;
    assert_eq!(put("").await, (400, "M_NOT_JSON".into()));
    assert_eq!(put("{").await, (400, "M_NOT_JSON".into()));
    assert_eq!(put("[7]").await, (400, "M_BAD_JSON".into()));
    assert_eq!(put("{}").await, (400, "M_MISSING_PARAM".into()));
    assert_eq!(put(r#"{"number": "seven"}"#).await, (400, "M_BAD_JSON".into()));
    let invalid = refusal(Method::PUT, "/v1/body", b"{\"number\":\xff}".to_vec()).await;
    assert_eq!(invalid, (400, "M_NOT_JSON".into()));
    let deep = "[".repeat(60_000);
    assert_eq!(refusal(Method::PUT, "/v1/body", deep).await, (400, "M_NOT_JSON".into()));
    let large = vec![b' '; crate::body::MAX_UNKNOWN_BYTES + 1];
    assert_eq!(refusal(Method::PUT, "/v1/body", large).await, (413, "M_TOO_LARGE".into()));
}

#[tokio::test]
async fn paths_are_decoded() {
    let state = async |path: &str| ask(Method::GET, path, "").await.2;
    assert_eq!(state("/v1/state/!a:b").await, json!(["!a:b", ""]));
    assert_eq!(state("/v1/state/!a:b/").await, json!(["!a:b", ""]));
    assert_eq!(state("/r0/state/%21a%3Ab/%40u%2Fx").await, json!(["!a:b", "@u/x"]));
    assert_eq!(state("/r0/state/%23a+b/x").await, json!(["#a+b", "x"]));
    let (status, errcode) = refusal(Method::GET, "/v1/state/%ff", "").await;
    assert_eq!((status, errcode.as_str()), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn queries() {
    let query = async |query: &str| ask(Method::GET, &format!("/v1/query?{query}"), "").await.2;
    assert_eq!(query("needed=1").await, json!([1, []]));
    assert_eq!(query("via=a&needed=1&via=b%2B+c&other=x").await, json!([1, ["a", "b+ c"]]));
    assert_eq!(query("").await["errcode"], "M_MISSING_PARAM");
    assert_eq!(query("needed=x").await["errcode"], "M_INVALID_PARAM");
}

#[tokio::test]
async fn a_panic_is_a_500() {
    assert_eq!(refusal(Method::GET, "/v1/panic", "").await, (500, "M_UNKNOWN".into()));
}

#[tokio::test]
async fn rate_limits_say_when() {
    let (status, headers, body) = ask(Method::GET, "/v1/limited", "").await;
    assert_eq!(status, 429);
    assert_eq!(headers["retry-after"], "2");
    assert_eq!(body["retry_after_ms"], 1_500);
}

#[tokio::test]
async fn health() {
    let router = frame(routes().build((), &BodyReader::new(Clock::manual(0))), Clock::manual(0), probes());
    let request = Request::get("/health").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "OK");
}

/// The records of level DEBUG and above while this is the thread's log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines about requests since the last time.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap();
        text.lines().filter(|line| line.contains("Processed request")).map(str::to_owned).collect()
    }

    fn line(&self) -> String {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged_routes() -> axum::Router {
    let mut r = Routes::<()>::new();
    r.get(TEST, "/streamed", async || {
        let pieces = [Ok::<_, std::io::Error>("12345"), Ok("678")];
        Response::new(Body::from_stream(futures_util::stream::iter(pieces)))
    });
    r.get(TEST, "/never", async || std::future::pending::<Response>().await);
    frame(r.build((), &BodyReader::new(Clock::manual(0))), Clock::manual(0), probes())
}

fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_streamed_response_is_logged_with_its_bytes_when_it_has_ended() {
    let (log, _guard) = Log::start();
    let response = logged_routes().oneshot(request(Method::GET, "/v1/streamed")).await.unwrap();
    assert_eq!(log.lines(), Vec::<String>::new());
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 8);
    let line = log.line();
    assert!(line.contains(" INFO ") && line.contains("0.000sec 8B 200 \"GET /v1/streamed HTTP/1.1\""), "{line}");
    assert!(line.contains("request{id=\"GET-1\"}"), "{line}");
}

#[tokio::test]
async fn a_client_that_hangs_up_is_logged() {
    let (log, _guard) = Log::start();
    let response = logged_routes().oneshot(request(Method::GET, "/v1/streamed")).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let line = log.line();
    assert!(line.contains(" 5B 200! "), "{line}");

    let mut waiting = Box::pin(logged_routes().oneshot(request(Method::GET, "/v1/never")));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(waiting);
    let line = log.line();
    assert!(line.contains(" 0B 499! \"GET /v1/never"), "{line}");

    // An answer to HEAD has no body that anybody would ask for.
    drop(logged_routes().oneshot(request(Method::HEAD, "/v1/streamed")).await.unwrap());
    let line = log.line();
    assert!(line.contains(" 0B 200 \"HEAD"), "{line}");
}

#[tokio::test]
async fn preflights_and_health_checks_are_logged_for_those_who_look_for_them() {
    let (log, _guard) = Log::start();
    for (method, path) in [(Method::OPTIONS, "/v1/streamed"), (Method::GET, "/health")] {
        drop(logged_routes().oneshot(request(method, path)).await.unwrap());
        let line = log.line();
        assert!(line.contains("DEBUG"), "{line}");
    }
}

fn probes() -> Arc<crate::Probes> {
    Arc::new(crate::Probes::new(Clock::manual(0)))
}
