//! The addresses and certificates to which connections are made.

use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderValue, Request};
use plexus_base::config::IpRange;
use plexus_net::http::{ConnectError, send_operator_command, send_unverified_operator_command};
use plexus_net::{AddressGuard, AddressGuards, FederationError, HttpError, Limits, Purpose};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{A, Authority, Server, World, get, json, server, status};

/// The same for every purpose.
fn guards(guard: &AddressGuard) -> AddressGuards {
    AddressGuards { federation: guard.clone(), previews: guard.clone(), general: guard.clone() }
}

const FORBIDDEN: &str = "ip_range_blacklist";

fn ranges(ranges: &[&str]) -> Vec<IpRange> {
    ranges.iter().map(|range| IpRange::parse(range).unwrap()).collect()
}

#[tokio::test]
async fn forbidden_addresses_are_not_connected_to_whatever_they_are_called() {
    let mut world = World::new();
    world.http.guards = guards(&AddressGuard { blocked: ranges(&["127.0.0.0/8"]), exceptions: Vec::new() });
    let at = Server::start(&world.authority, &["a.example", "127.0.0.1"], |_| json("{}")).await;
    world.names.every_host(at.address);
    let client = world.client().await;
    let port = at.address.port();
    let names =
        [format!("127.0.0.1:{port}"), format!("[::ffff:127.0.0.1]:{port}"), "a.example:5".into(), "a.example".into()];
    for name in names {
        let error = client.call(&server(&name), get("/")).await.unwrap_err();
        assert!(error.to_string().contains(FORBIDDEN), "{name}: {error}");
    }
    let location = format!("http://127.0.0.1:{port}/");
    let error = client.fetch(Purpose::KeyRevocation, &server("a.example"), &location).await.err();
    assert!(error.unwrap().to_string().contains(FORBIDDEN));
    // Not even the .well-known was asked for.
    assert_eq!(at.connections(), 0);

    world.http.guards.federation.exceptions = ranges(&["127.0.0.1"]);
    world.client().await.call(&server(A), get("/")).await.unwrap();
}

#[tokio::test]
async fn certificates_are_verified_by_the_programs_clock() {
    let world = World::new();
    let _at = world.serve(|_| json("{}")).await;
    world.client().await.call(&server(A), get("/")).await.unwrap();
    // Certificates of tests end in 4096.
    world.clock.advance(Duration::from_secs(3_000 * 366 * 86_400));
    let error = world.client().await.call(&server(A), get("/")).await.unwrap_err();
    assert!(error.to_string().contains("certificate expired"), "{error}");
}

#[tokio::test]
async fn a_connection_that_one_purpose_may_open_is_not_used_for_another() {
    let mut world = World::new();
    world.http.guards = guards(&AddressGuard { blocked: ranges(&["127.0.0.0/8"]), exceptions: Vec::new() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4_096];
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
        }
    });
    let http = world.http_client().unwrap();
    let limits = Limits { timeout: Duration::from_secs(60), max_response_bytes: 1_000 };
    let ask = async |purpose: Purpose| http.fetch(purpose, Request::get(&uri).body(Bytes::new()).unwrap()).await;
    for _ in 0..2 {
        ask(Purpose::ApplicationService(limits)).await.unwrap();
        let error = ask(Purpose::PushGateway).await.unwrap_err();
        assert!(error.to_string().contains(FORBIDDEN), "{error}");
    }
}

/// Addresses that lead to 10.0.0.1, in every notation and through every translator and tunnel there is.
const FORMS_OF_10_0_0_1: [&str; 10] = [
    "::ffff:10.0.0.1",
    "::10.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "64:ff9b:1:a00:0:100::",
    "2002:a00:1::1",
    // A public Teredo server, and a client whose address is written inverted.
    "2001:0:808:808:0:0:f5ff:fffe",
    "2a00::5efe:10.0.0.1",
    "2a00::200:5efe:10.0.0.1",
];

/// A forbidden network; the servers of these tests themselves are permitted.
fn guard() -> AddressGuard {
    AddressGuard { blocked: ranges(&["10.0.0.0/8"]), exceptions: Vec::new() }
}

#[tokio::test]
async fn a_forbidden_address_stays_forbidden_in_its_ipv6_forms() {
    for form in FORMS_OF_10_0_0_1 {
        let mut world = World::new();
        world.http.guards = guards(&guard());
        world.names.host("a.example:5", format!("[{form}]:5").parse().unwrap());
        let client = world.client().await;
        for name in [format!("[{form}]:5"), "a.example:5".to_owned()] {
            let error = client.call(&server(&name), get("/")).await.unwrap_err();
            assert!(error.to_string().contains(FORBIDDEN), "{form} as {name}: {error}");
        }
    }
}

#[tokio::test]
async fn neither_a_well_known_nor_a_redirect_leads_to_a_forbidden_address() {
    for form in FORMS_OF_10_0_0_1 {
        let mut world = World::new();
        world.http.guards = guards(&guard());
        let delegation = format!(r#"{{"m.server":"[{form}]:5"}}"#);
        let limits = Limits { timeout: Duration::from_secs(60), max_response_bytes: 1000 };
        let location = HeaderValue::from_str(&format!("https://[{form}]:5/")).unwrap();
        let at = Server::start(&world.authority, &["a.example"], move |seen| {
            if seen.path.starts_with("/.well-known/") {
                return json(delegation.clone());
            }
            let mut answer = status(302, "");
            answer.headers_mut().insert(LOCATION, location.clone());
            answer
        })
        .await;
        world.names.host("a.example:443", at.address);
        let client = world.client().await;

        let error = client.call(&server("a.example"), get("/")).await.unwrap_err();
        assert!(error.to_string().contains(FORBIDDEN), "{form}: {error}");
        let fetched = client.fetch(Purpose::RemoteMedia(limits), &server("a.example"), "https://a.example/").await;
        let error = fetched.err().unwrap().to_string();
        assert!(error.contains(FORBIDDEN), "{form}: {error}");
        assert_eq!(at.paths(), ["/.well-known/matrix/server", "/"], "{form}");
    }
}

#[tokio::test]
async fn certificates_must_be_of_a_trusted_authority_and_for_the_name() {
    let mut world = World::new();
    let strange = Authority::new();
    let stranger = Server::start(&strange, &["a.example"], |_| json("{}")).await;
    let misnamed = Server::start(&world.authority, &["other.example"], |_| json("{}")).await;
    world.names.host("a.example:5", stranger.address);
    world.names.host("b.example:5", misnamed.address);
    let client = world.client().await;
    for name in ["a.example:5", "b.example:5"] {
        let refused = client.call(&server(name), get("/")).await;
        assert!(matches!(refused, Err(FederationError::Unreachable { .. })), "{refused:?}");
    }
    assert!(stranger.seen().is_empty() && misnamed.seen().is_empty());

    // Servers are backed off once they have failed; a user's request is sent all the same.
    world.http.tls.unverified_hosts = vec!["a.exam*".to_owned()];
    let client = world.client().await;
    client.call(&server(A), get("/")).await.unwrap();
    client.call(&server("b.example:5"), get("/")).await.unwrap_err();
    world.http.tls.verify = false;
    world.client().await.call(&server("b.example:5"), get("/")).await.unwrap();
}

#[tokio::test]
async fn commands_verify_certificates_unless_they_are_of_this_machine_or_the_operator_says_so() {
    let strange = Authority::new();
    let at = Server::start(&strange, &["127.0.0.1"], |_| json("{}")).await;
    let port = at.address.port();
    let to = |host: &str| Request::get(format!("https://{host}:{port}/")).body(Bytes::new()).unwrap();
    send_operator_command(to("127.0.0.1")).await.unwrap();
    send_operator_command(to("localhost")).await.unwrap();
    // The same address, written so that it is not recognized.
    let error = send_operator_command(to("[::ffff:127.0.0.1]")).await.unwrap_err();
    assert!(matches!(error, HttpError::Connect(ConnectError::Tls { .. })), "{error}");
    assert_eq!(at.seen().len(), 2);
    send_unverified_operator_command(to("[::ffff:127.0.0.1]")).await.unwrap();
}

#[test]
fn an_unusable_file_of_authorities_is_reported_at_the_start() {
    let mut world = World::new();
    let empty = tempfile::NamedTempFile::new().unwrap();
    for path in [empty.path().to_owned(), "/does/not/exist.pem".into()] {
        world.http.tls.authorities = vec![path.clone()];
        let error = world.http_client().err().unwrap().to_string();
        assert!(error.contains("federation_custom_ca_list") && error.contains(path.to_str().unwrap()), "{error}");
    }
}
