//! Requests through a forward proxy.

mod faults;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderValue, Request};
use plexus_base::config::IpRange;
use plexus_base::forward_proxy::{ForwardProxies, ProxyException, ProxyUrl};
use plexus_net::dns::{DnsError, Lookup, Resolve, Service};
use plexus_net::{AddressGuard, AddressGuards, FederationError, HttpClient, Limits, Purpose};
use plexus_testkit::{ForwardProxy, ProxyConduct};

use crate::support::{A, Server, World, get, json, put, server, status};

/// How long to wait for what is due at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A resolver that can resolve nothing.
struct NoNames;

impl Resolve for NoNames {
    fn addresses<'a>(&'a self, host: &'a str, _port: u16) -> Lookup<'a, Vec<SocketAddr>> {
        Box::pin(async move { Err(DnsError(format!("{host} was looked up"))) })
    }

    fn services<'a>(&'a self, name: &'a str) -> Lookup<'a, Vec<Service>> {
        Box::pin(async move { Err(DnsError(format!("{name} was looked up"))) })
    }
}

fn through(proxy: &ForwardProxy, before: &str) -> ForwardProxies {
    let url = ProxyUrl::parse(&format!("{before}{}", proxy.address)).unwrap();
    ForwardProxies { http: Some(url.clone()), https: Some(url), ..ForwardProxies::default() }
}

fn no_proxy(world: &mut World, exceptions: &str) {
    world.http.proxies.no_proxy = ProxyException::parse_list(exceptions).unwrap().into();
}

fn limits() -> Limits {
    Limits { timeout: Duration::from_secs(60), max_response_bytes: 1000 }
}

/// Every purpose.
fn purposes() -> [Purpose; 17] {
    [
        Purpose::OperatorCommand { any_certificate: true },
        Purpose::Federation(limits()),
        Purpose::SigningKeys(limits()),
        Purpose::WellKnown,
        Purpose::RemoteMedia(limits()),
        Purpose::KeyRevocation,
        Purpose::PushGateway,
        Purpose::UrlPreview(limits()),
        Purpose::Statistics,
        Purpose::Captcha,
        Purpose::Cas,
        Purpose::OpenIdConnect,
        Purpose::IdentityServer,
        Purpose::Mail,
        Purpose::ApplicationService(limits()),
        Purpose::PolicyHook(limits()),
        Purpose::MediaStorage(limits()),
    ]
}

/// Whether requests of the purpose go through the proxy. A purpose that is added here belongs into [`purposes`], too.
fn may_use_proxy(purpose: Purpose) -> bool {
    match purpose {
        Purpose::OperatorCommand { .. }
        | Purpose::IdentityServer
        | Purpose::Mail
        | Purpose::ApplicationService(_)
        | Purpose::PolicyHook(_) => false,
        Purpose::Federation(_)
        | Purpose::SigningKeys(_)
        | Purpose::WellKnown
        | Purpose::RemoteMedia(_)
        | Purpose::MediaStorage(_)
        | Purpose::KeyRevocation
        | Purpose::PushGateway
        | Purpose::UrlPreview(_)
        | Purpose::Statistics
        | Purpose::Captcha
        | Purpose::Cas
        | Purpose::OpenIdConnect => true,
    }
}

fn request(uri: &str) -> Request<Bytes> {
    Request::get(uri).body(Bytes::new()).unwrap()
}

fn problem(result: Result<Bytes, FederationError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn each_purpose_goes_through_the_proxy_or_never_does() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    let client = HttpClient::new(&world.http, Arc::new(NoNames), world.clock.clone()).unwrap();
    for purpose in purposes() {
        let before = proxy.requests().len();
        // No name leads anywhere but at the proxy.
        let plain = client.fetch(purpose, request("http://a.example/x?y")).await;
        let encrypted = client.fetch(purpose, request("https://a.example/x")).await.unwrap_err().to_string();
        let seen = proxy.requests().split_off(before);
        if may_use_proxy(purpose) {
            assert_eq!(plain.unwrap().status, 200, "{purpose:?}");
            assert!(encrypted.contains("responded with 503"), "{purpose:?}: {encrypted}");
            assert_eq!(seen, ["GET http://a.example/x?y HTTP/1.1", "CONNECT a.example:443 HTTP/1.1"], "{purpose:?}");
        } else {
            assert!(plain.unwrap_err().to_string().contains("was looked up"), "{purpose:?}");
            assert!(encrypted.contains("was looked up"), "{purpose:?}: {encrypted}");
            assert_eq!(seen, [""; 0], "{purpose:?}");
        }
    }
}

#[tokio::test]
async fn servers_are_found_by_a_server_that_can_resolve_nothing() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "http://user:p%40ss@");
    proxy.behave(ProxyConduct::PassOn(Some("dXNlcjpwQHNz")));
    let at = Server::start(&world.authority, &["a.example", "b.example"], |seen| match seen.path.as_str() {
        "/.well-known/matrix/server" if seen.host == "a.example" => json(r#"{"m.server":"b.example"}"#),
        "/.well-known/matrix/server" => json(r#"{"m.server":"b.example:7"}"#),
        _ => json("{}"),
    })
    .await;
    for place in ["a.example:443", "b.example:443", "b.example:8448", "b.example:7"] {
        proxy.name(place, at.address);
    }
    let client = world.client_with(Arc::new(NoNames)).await;
    client.call(&server("a.example"), get("/_matrix/x%2Fy")).await.unwrap();
    assert_eq!(proxy.requests(), ["CONNECT a.example:443 HTTP/1.1", "CONNECT b.example:8448 HTTP/1.1"]);
    // Host, SNI and certificate are the target's, and what the proxy alone must know stays with it.
    let last = at.seen().pop().unwrap();
    assert_eq!(
        (last.sni.as_deref(), last.host.as_str(), last.path.as_str()),
        (Some("b.example"), "b.example", "/_matrix/x%2Fy")
    );
    assert!(!last.headers.contains_key("proxy-authorization"));
    // The tunnel is kept for the next request.
    client.call(&server("a.example"), get("/again")).await.unwrap();
    assert_eq!(proxy.requests().len(), 2);
}

#[tokio::test]
async fn a_server_reached_by_an_srv_record_is_connected_to_by_the_proxy() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    let at = Server::start(&world.authority, &["a.example"], |_| json("{}")).await;
    world.names.service("_matrix-fed._tcp.a.example", 0, "host.example", 9);
    proxy.name("host.example:9", at.address);
    world.client().await.call(&server("a.example"), get("/")).await.unwrap();
    assert_eq!(proxy.requests().last().unwrap(), "CONNECT host.example:9 HTTP/1.1");
    assert_eq!(at.seen().pop().unwrap().sni.as_deref(), Some("a.example"));
}

#[tokio::test]
async fn the_certificate_of_the_target_is_checked_through_the_tunnel() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    let other = Server::start(&world.authority, &["other.example"], |_| json("{}")).await;
    proxy.name(A, other.address);
    let error = world.client().await.call(&server(A), get("/")).await.unwrap_err().to_string();
    assert!(error.contains("TLS with a.example failed"), "{error}");
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn exceptions_are_connected_to_directly() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    no_proxy(&mut world, "a.example:5, 127.0.0.0/8");
    let at = Server::start(&world.authority, &["a.example", "127.0.0.1"], |_| json("{}")).await;
    world.names.host(A, at.address);
    let client = world.client().await;
    client.call(&server(A), get("/")).await.unwrap();
    client.call(&server(&format!("127.0.0.1:{}", at.address.port())), get("/")).await.unwrap();
    assert_eq!(proxy.requests(), [""; 0]);
    // The same host at another port is no exception.
    let error = client.call(&server("a.example:6"), get("/")).await.unwrap_err().to_string();
    assert!(error.contains("CONNECT") || error.contains("responded with 503"), "{error}");
    assert_eq!(proxy.requests(), ["CONNECT a.example:6 HTTP/1.1"]);
}

/// A world in which no purpose may connect to 127.0.0.0/8, except for 127.0.0.2.
fn guarded() -> World {
    let range = |text| IpRange::parse(text).unwrap();
    let guard =
        AddressGuard { blocked: vec![range("127.0.0.0/8"), range("::1")], exceptions: vec![range("127.0.0.2")] };
    let mut world = World::new();
    world.http.guards = AddressGuards { federation: guard.clone(), previews: guard.clone(), general: guard };
    world
}

#[tokio::test]
async fn names_are_the_proxys_to_check_and_nobody_elses() {
    let proxy = ForwardProxy::start().await;
    let mut world = guarded();
    world.http.proxies = through(&proxy, "");
    no_proxy(&mut world, "direct.example");
    let at = world.serve(|_| json("{}")).await;
    proxy.name(A, at.address);
    world.names.host("direct.example:5", at.address);
    let client = world.client().await;
    client.call(&server(A), get("/")).await.unwrap();
    let error = client.call(&server("direct.example:5"), get("/")).await.unwrap_err().to_string();
    assert!(error.contains("ip_range_blacklist"), "{error}");
    let http = world.http_client().unwrap();
    let error = http.fetch(Purpose::IdentityServer, request("https://127.0.0.1:5/")).await.unwrap_err();
    assert!(error.to_string().contains("ip_range_blacklist"), "{error}");
}

#[tokio::test]
async fn addresses_are_checked_in_front_of_the_proxy_too() {
    let proxy = ForwardProxy::start().await;
    let mut world = guarded();
    world.http.proxies = through(&proxy, "");
    let http = world.http_client().unwrap();
    // A server that stores media is often in a private network; the operator has named it.
    let is_guarded = |purpose: &Purpose| may_use_proxy(*purpose) && !matches!(purpose, Purpose::MediaStorage(_));
    for purpose in purposes().into_iter().filter(is_guarded) {
        for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
            for scheme in ["http", "https"] {
                let error = http.fetch(purpose, request(&format!("{scheme}://{host}/"))).await.unwrap_err();
                assert!(error.to_string().contains("ip_range_blacklist"), "{purpose:?}: {scheme}://{host}: {error}");
            }
        }
        // Squid and others read these as addresses.
        for host in ["127.1", "2130706433", "0x7f.0x1", "0X7F000001", "127.0.0.1.", "0177.0.0.01"] {
            for scheme in ["http", "https"] {
                let error = http.fetch(purpose, request(&format!("{scheme}://{host}/"))).await.unwrap_err();
                assert!(error.to_string().contains("is no host"), "{purpose:?}: {scheme}://{host}: {error}");
            }
        }
    }
    assert_eq!(proxy.requests(), [""; 0]);
    // An exception permits its address, and a name is none.
    for host in ["127.0.0.2", "0x7f.example", "127.0.0.1.example"] {
        let response = http.fetch(Purpose::PushGateway, request(&format!("http://{host}/"))).await.unwrap();
        assert_eq!(response.status, 200, "{host}");
    }
    let client = world.client().await;
    let error = client.call(&server("127.0.0.1:5"), get("/")).await.unwrap_err().to_string();
    assert!(error.contains("ip_range_blacklist"), "{error}");
    assert_eq!(proxy.requests().len(), 3);
}

#[tokio::test]
async fn delegation_and_redirects_lead_to_no_address_that_is_blocked() {
    let proxy = ForwardProxy::start().await;
    let mut world = guarded();
    world.http.proxies = through(&proxy, "");
    let at = Server::start(&world.authority, &["b.example", "c.example"], |seen| match seen.host.as_str() {
        "b.example" => json(r#"{"m.server":"127.0.0.1:5"}"#),
        _ => {
            let mut response = status(302, "");
            response.headers_mut().insert(LOCATION, HeaderValue::from_static("https://127.0.0.1/"));
            response
        }
    })
    .await;
    for place in ["b.example:443", "c.example:443"] {
        proxy.name(place, at.address);
    }
    let client = world.client().await;
    let error = client.call(&server("b.example"), get("/")).await.unwrap_err().to_string();
    assert!(error.contains("ip_range_blacklist"), "{error}");
    let http = world.http_client().unwrap();
    let error = http.fetch(Purpose::WellKnown, request("https://c.example/")).await.unwrap_err();
    assert!(error.to_string().contains("ip_range_blacklist"), "{error}");
    assert_eq!(proxy.requests(), ["CONNECT b.example:443 HTTP/1.1", "CONNECT c.example:443 HTTP/1.1"]);
}

#[tokio::test]
async fn connections_to_the_proxy_are_kept_and_bounded() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    world.http.max_connections = 2;
    let client = world.http_client().unwrap();
    for host in ["a", "b", "c", "d"] {
        let uri = format!("http://{host}.example/");
        assert_eq!(client.fetch(Purpose::PushGateway, request(&uri)).await.unwrap().status, 200);
    }
    // The same connection, whichever host the requests are for.
    assert_eq!(proxy.connections(), 1);
    let many = (0..10).map(|n| {
        let client = &client;
        async move { client.fetch(Purpose::Captcha, request(&format!("http://h{n}.example/"))).await.unwrap().status }
    });
    assert!(futures_util::future::join_all(many).await.iter().all(|status| *status == 200));
    assert!(proxy.most_open() <= 2, "{}", proxy.most_open());
}

#[tokio::test]
async fn tls_to_the_proxy_is_verified() {
    let mut world = World::new();
    // A certificate of an authority that the system does not trust.
    let proxy = Server::start(&world.authority, &["127.0.0.1"], |_| json("{}")).await;
    let url = ProxyUrl::parse(&format!("https://{}", proxy.address)).unwrap();
    world.http.proxies = ForwardProxies { https: Some(url), ..ForwardProxies::default() };
    let error = problem(world.client().await.call(&server(A), get("/")).await);
    assert!(error.contains(&format!("the proxy https://{} fails: TLS with it failed", proxy.address)), "{error}");
    assert_eq!(proxy.seen().len(), 0);
}

#[tokio::test]
async fn what_a_proxy_gets_holds_the_credentials_and_the_target_only() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "user:secret@");
    let at = world.serve(|_| json("{}")).await;
    proxy.name(A, at.address);
    world.client().await.call(&server(A), put("/x", r#"{"private":1}"#)).await.unwrap();
    let head = proxy.heads().pop().unwrap().to_lowercase();
    let mut lines: Vec<&str> = head.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["connect a.example:5 http/1.1", "host: a.example:5", "proxy-authorization: basic dxnlcjpzzwnyzxq="]
    );
}
