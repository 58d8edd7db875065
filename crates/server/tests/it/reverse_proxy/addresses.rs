//! The client that the server sees behind a request, and the id that it gives the request.

use http::Method;
use plexus_base::Clock;
use plexus_testkit::{TestPlace, TestServer};
use regex::Regex;
use serde_json::{Value, json};

use super::Installed;
use super::curl::{CLIENT, Curl, Http};
use super::front::Front;
use super::program::Program;
use crate::binary::stderr;

/// What clients claim.
const FORGED: &str = "203.0.113.66";
const LOGIN: &str = "/_matrix/client/v3/login";
/// A second attempt to log in from an address within a quarter of an hour is refused.
const ONE_LOGIN: &str = "rc_login: {address: {per_second: 0.001, burst_count: 1}}\n";

fn password_of_alice() -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "alice" },
        "password": "password of alice",
        "initial_device_display_name": "curl",
    })
}

/// A request whose client claims to be somebody else, in every way there is.
fn forging(version: Http, url: &str) -> Curl {
    let curl = Curl::new(version, url).args(["--header", "X-Forwarded-Proto: gopher"]);
    let curl = curl.args(["--header", "X-Request-ID: forged", "--header", &format!("Forwarded: for={FORGED}")]);
    curl.args([
        "--header",
        &format!("X-Forwarded-For: {FORGED}, {FORGED}"),
        "--header",
        "X-Forwarded-For: 203.0.113.67",
    ])
}

async fn see_addresses(front: &Front) {
    let alice = front.direct.register("alice").await;
    let versions = if front.has_tls() { Http::ALL.to_vec() } else { vec![Http::V1] };
    for version in &versions {
        let session = forging(*version, &format!("{}{LOGIN}", front.url)).post(&password_of_alice()).send();
        assert_eq!((session.version.as_str(), session.status), (version.spoken(), 200), "{}: {session:?}", front.name);
        let session = session.json();
        let whoami = forging(*version, &format!("{}/_matrix/client/v3/account/whoami", front.url));
        let whoami = whoami.token(session["access_token"].as_str().unwrap()).send();
        assert_eq!(whoami.status, 200, "{}", front.name);
    }
    let devices = front.direct.get("/_matrix/client/v3/devices", &alice.token).await;
    let devices = devices.ok()["devices"].as_array().unwrap().clone();
    let by_curl: Vec<_> = devices.iter().filter(|device| device["display_name"] == "curl").collect();
    assert_eq!(by_curl.len(), versions.len(), "{}", front.name);
    assert!(by_curl.iter().all(|device| device["last_seen_ip"] == CLIENT), "{}: {by_curl:?}", front.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_addresses_of_clients_are_right_and_cannot_be_forged() {
    for front in Front::all(&Clock::system(), "").await {
        see_addresses(&front).await;
    }
    for program in Program::ALL {
        let Some(front) = Front::on_socket(program, "").await else { continue };
        see_addresses(&front).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_use_is_not_shown_to_everybody() {
    for front in Front::all(&Clock::system(), "enable_metrics: true\n").await {
        if front.proxy.is_none() {
            continue;
        }
        for path in ["/_synapse/admin/v1/server_version", "/_synapse/metrics", "/health"] {
            let response = Curl::new(Http::V1, &format!("{}{path}", front.url)).send();
            assert!(matches!(response.status, 404 | 503), "{}: {path}: {response:?}", front.name);
            assert_eq!(response.json()["errcode"], Value::Null, "{}: {path}", front.name);
        }
        let response = Curl::new(Http::V1, &format!("{}/_synapse/client/x", front.url)).send();
        assert_eq!(response.json()["errcode"], "M_UNRECOGNIZED", "{}", front.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_counts_each_client_by_its_own_address() {
    for front in Front::all(&Clock::system(), ONE_LOGIN).await {
        front.direct.register("alice").await;
        let url = format!("{}{LOGIN}", front.url);
        let status = |curl: Curl| curl.post(&password_of_alice()).send().status;
        assert_eq!(status(forging(Http::V1, &url)), 200, "{}", front.name);
        let other_claim = Curl::new(Http::V1, &url).args(["--header", "X-Forwarded-For: 203.0.113.99"]);
        assert_eq!(status(other_claim), 429, "{}", front.name);
        // A later --interface counts.
        let other_client = Curl::new(Http::V1, &url).args(["--interface", "127.0.0.3"]);
        assert_eq!(status(other_client), 200, "{}", front.name);
    }
}

#[tokio::test]
async fn of_several_addresses_the_first_counts() {
    let listener = "listeners: [{port: 8008, bind_addresses: ['127.0.0.1'], type: http, x_forwarded: true, \
                    resources: [{names: [client]}]}]\n";
    let server = TestServer::on(TestPlace::sqlite()).config(listener).start().await;
    let alice = server.register("alice").await;
    for (headers, seen) in [
        (vec!["203.0.113.7, 198.51.100.1"], "203.0.113.7"),
        (vec!["203.0.113.8", "198.51.100.1"], "203.0.113.8"),
        (vec!["2001:db8::1, 10.0.0.1"], "2001:db8::1"),
    ] {
        let headers: Vec<_> = headers.into_iter().map(|value| ("X-Forwarded-For", value)).collect();
        let path = format!("/_matrix/client/v3/devices/{}", alice.device_id);
        server.send(Method::GET, &path, Some(&alice.token), &headers, Default::default()).await.ok();
        let device = server.send(Method::GET, &path, Some(&alice.token), &headers, Default::default()).await;
        assert_eq!(device.ok()["last_seen_ip"], seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_client_and_has_the_id_that_the_proxy_gave() {
    // A UUID, 32 digits, or what mod_unique_id writes.
    let id = Regex::new("^[0-9A-Za-z_-]{24,36}$").unwrap();
    for program in Program::ALL {
        let Some(installed) = Installed::start(program, &[], true).await else { continue };
        let url = format!("{}/_matrix/client/versions", installed.client_url());
        assert_eq!(forging(Http::V1, &url).send().status, 200, "{program:?}");
        let log = stderr(&installed.stop());
        let line =
            log.lines().find(|line| line.contains("GET /_matrix/client/versions")).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains(&format!("{CLIENT} - ")) && !line.contains(FORGED), "{program:?}: {line}");
        let given = line.split([' ', '"', '}', '{', '=', ':', ',']).find(|word| id.is_match(word));
        assert!(given.is_some() && !line.contains("forged"), "{program:?}: {line}");
    }
}
