//! Rendezvous sessions for logging in by QR code.

mod create_rendezvous_session;
mod update_rendezvous_session;

use bytes::Bytes;
use http::Method;
use plexus_base::Clock;
use plexus_testkit::TestPlace;
use plexus_testkit::server::{Answer, TestServer};
use serde_json::{Value, json};

const MSC4388: &str = "/_matrix/client/unstable/io.element.msc4388/rendezvous";
const MSC4108: &str = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous";
const START_MS: u64 = 1_700_000_000_000;
/// How long a session lasts.
const LIFETIME_MS: u64 = 300_000;

/// A server with a manual clock. Sessions are in memory: one database shows everything.
async fn server(features: &str) -> TestServer {
    let config = format!("public_baseurl: https://test.example/\nexperimental_features: {features}");
    TestServer::on(TestPlace::sqlite()).clock(Clock::manual(START_MS)).config(&config).start().await
}

async fn request(server: &TestServer, method: Method, path: &str, body: Option<Value>) -> Answer {
    server.request(method, path, None, body).await
}

/// Creates a session by MSC4388; returns its path.
async fn create(server: &TestServer, data: &str) -> String {
    let created = request(server, Method::POST, MSC4388, Some(json!({ "data": data }))).await;
    assert_eq!((&created.ok()["sequence_token"], &created.ok()["expires_in_ms"]), (&json!("1"), &json!(LIFETIME_MS)));
    format!("{MSC4388}/{}", created.ok()["id"].as_str().unwrap())
}

/// A request of MSC4108, whose bodies are plain text.
async fn plain(server: &TestServer, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = [&[("Content-Type", "text/plain")], headers].concat();
    server.send(method, path, None, &headers, Bytes::from(body.to_owned())).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

/// The path of the session in the answer to its creation by MSC4108.
fn path_of(created: &Answer) -> String {
    assert_eq!(created.status, 201);
    let url = created.body["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("https://test.example{MSC4108}/")), "{url}");
    url.strip_prefix("https://test.example").unwrap().to_owned()
}
