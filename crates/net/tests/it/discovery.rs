//! Where servers are found (server-server API, "Resolving server names").

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderValue, Response};
use plexus_net::{Call, FederationError};
use plexus_testkit::within;

use crate::support::{Body, Seen, Server, World, get, json, server, status};

const WELL_KNOWN: &str = "/.well-known/matrix/server";

fn version() -> Call {
    get("/_matrix/federation/v1/version")
}

/// Host and SNI of the last request that was not for the .well-known.
fn reached(at: &Server) -> (String, Option<String>) {
    let last = at.seen().into_iter().rfind(|seen| seen.path != WELL_KNOWN).unwrap();
    (last.host, last.sni)
}

fn well_known(answer: impl Fn() -> Response<Body>) -> impl Fn(&Seen) -> Response<Body> {
    move |seen| if seen.path == WELL_KNOWN { answer() } else { json("{}") }
}

#[tokio::test]
async fn an_address_is_used_as_it_is_without_a_name_in_the_handshake() {
    let world = World::new();
    let at = Server::start(&world.authority, &["127.0.0.1"], |_| json("{}")).await;
    let name = at.address.to_string();
    world.client().await.call(&server(&name), version()).await.unwrap();
    assert_eq!(reached(&at), (name, None));
    assert_eq!(at.count(WELL_KNOWN), 0);
}

#[tokio::test]
async fn a_name_with_a_port_is_looked_up_and_nothing_else() {
    let world = World::new();
    let at = Server::start(&world.authority, &["a.example"], |_| json("{}")).await;
    world.names.host("a.example:1234", at.address);
    world.names.service("_matrix-fed._tcp.a.example", 0, "elsewhere.example", 1);
    world.client().await.call(&server("a.example:1234"), version()).await.unwrap();
    assert_eq!(reached(&at), ("a.example:1234".to_owned(), Some("a.example".to_owned())));
    assert_eq!(at.count(WELL_KNOWN), 0);
}

#[tokio::test]
async fn a_well_known_may_name_a_host_a_port_or_an_address() {
    for (delegated, leads_from) in
        [("b.example:5", Some("b.example:5")), ("b.example", Some("b.example:8448")), ("127.0.0.1:PORT", None)]
    {
        let world = World::new();
        let at = Server::start(&world.authority, &["b.example", "127.0.0.1"], |_| json("{}")).await;
        let delegated = delegated.replace("PORT", &at.address.port().to_string());
        let body = format!(r#"{{"m.server":"{delegated}"}}"#);
        let web = Server::start(&world.authority, &["a.example"], well_known(move || json(body.clone()))).await;
        world.names.host("a.example:443", web.address);
        if let Some(name) = leads_from {
            world.names.host(name, at.address);
        }
        world.client().await.call(&server("a.example"), version()).await.unwrap();
        let sni = delegated.starts_with('b').then(|| "b.example".to_owned());
        assert_eq!(reached(&at), (delegated, sni));
    }
}

#[tokio::test]
async fn srv_records_lead_elsewhere_but_the_name_stays() {
    for (service, delegated) in [
        ("_matrix-fed._tcp.a.example", false),
        ("_matrix._tcp.a.example", false),
        ("_matrix-fed._tcp.b.example", true),
        ("_matrix._tcp.b.example", true),
    ] {
        let world = World::new();
        let at = Server::start(&world.authority, &["a.example", "b.example"], |_| json("{}")).await;
        let web = Server::start(&world.authority, &["a.example"], move |_| {
            if delegated { json(r#"{"m.server":"b.example"}"#) } else { status(404, "{}") }
        })
        .await;
        world.names.host("a.example:443", web.address);
        // The first is down, so the second is tried.
        world.names.service(service, 2, "up.example", 77);
        world.names.service(service, 1, "down.example", 77);
        world.names.host("up.example:77", at.address);
        world.client().await.call(&server("a.example"), version()).await.unwrap();
        let name = if delegated { "b.example" } else { "a.example" };
        assert_eq!(reached(&at), (name.to_owned(), Some(name.to_owned())), "{service}");
    }
}

#[tokio::test]
async fn without_anything_else_it_is_port_8448() {
    let world = World::new();
    let at = Server::start(&world.authority, &["a.example"], |_| json("{}")).await;
    world.names.host("a.example:8448", at.address);
    world.client().await.call(&server("a.example"), version()).await.unwrap();
    assert_eq!(reached(&at), ("a.example".to_owned(), Some("a.example".to_owned())));
}

#[tokio::test]
async fn a_service_that_is_said_not_to_exist_is_not_sought_elsewhere() {
    let world = World::new();
    let at = Server::start(&world.authority, &["a.example"], |_| json("{}")).await;
    world.names.host("a.example:8448", at.address);
    world.names.service("_matrix-fed._tcp.a.example", 0, "", 0);
    let error = world.client().await.call(&server("a.example"), version()).await.unwrap_err();
    assert!(error.to_string().contains("no federation service"), "{error}");
}

#[tokio::test]
async fn the_well_known_is_kept_as_long_as_it_says() {
    let world = World::new();
    let at = Server::start(
        &world.authority,
        &["a.example", "b.example"],
        well_known(|| {
            let mut answer = json(r#"{"m.server":"b.example:5"}"#);
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=1000"));
            answer
        }),
    )
    .await;
    world.names.host("a.example:443", at.address);
    world.names.host("b.example:5", at.address);
    let client = world.client().await;
    let name = server("a.example");
    let (first, second) = tokio::join!(client.call(&name, version()), client.call(&name, version()));
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(at.count(WELL_KNOWN), 1);
    world.clock.advance(Duration::from_secs(999));
    client.call(&name, version()).await.unwrap();
    assert_eq!(at.count(WELL_KNOWN), 1);
    world.clock.advance(Duration::from_secs(2));
    client.call(&name, version()).await.unwrap();
    assert_eq!(at.count(WELL_KNOWN), 2);
}

#[tokio::test]
async fn a_well_known_that_is_none_is_passed_over_and_that_is_remembered() {
    let redirect = |to: &'static str| {
        move || {
            let mut answer = status(302, "");
            answer.headers_mut().insert(LOCATION, HeaderValue::from_static(to));
            answer
        }
    };
    type Answer = Box<dyn Fn() -> Response<Body> + Send + Sync>;
    let wrong: Vec<(usize, Answer)> = vec![
        (1, Box::new(|| status(404, "{}"))),
        (1, Box::new(|| status(500, r#"{"m.server":"b.example:5"}"#))),
        (1, Box::new(|| json("no JSON"))),
        (1, Box::new(|| json(r#"{"m.server":"not a name"}"#))),
        (1, Box::new(|| json(format!(r#"{{"m.server":"b.example:5","x":"{}"}}"#, "x".repeat(60_000))))),
        (1, Box::new(redirect("http://a.example/.well-known/matrix/server"))),
        (11, Box::new(redirect("/.well-known/matrix/server"))),
    ];
    for (asked, answer) in wrong {
        let world = World::new();
        let at = Server::start(&world.authority, &["a.example"], well_known(answer)).await;
        world.names.host("a.example:443", at.address);
        world.names.host("a.example:80", at.address);
        world.names.host("a.example:8448", at.address);
        let client = world.client().await;
        for _ in 0..2 {
            client.call(&server("a.example"), version()).await.unwrap();
            assert_eq!(at.count(WELL_KNOWN), asked);
        }
        world.clock.advance(Duration::from_secs(121));
        client.call(&server("a.example"), version()).await.unwrap();
        assert_eq!(at.count(WELL_KNOWN), 2 * asked);
    }
}

#[tokio::test]
async fn a_well_known_that_does_not_respond_in_time_is_remembered() {
    let world = World::new();
    let at = Server::start(&world.authority, &["a.example"], |_| json("{}")).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.names.host("a.example:443", silent.local_addr().unwrap());
    world.names.host("a.example:8448", at.address);
    let client = world.client().await;
    let name = server("a.example");
    let (error, connection) =
        tokio::join!(client.call(&name, version().timeout(Duration::from_millis(500))), silent.accept());
    assert!(matches!(error, Err(FederationError::NotSent(_))), "{error:?}");
    assert_eq!(client.backing_off_until(&name), None);
    // The request goes on until it fails.
    drop(connection.unwrap());
    for _ in 0..2 {
        within(Duration::from_secs(10), client.call(&name, version())).await.unwrap().unwrap();
    }
    assert!(silent.accept().now_or_never().is_none(), "it was asked again");
}

#[tokio::test]
async fn a_server_that_takes_its_well_known_away_is_reached_by_its_own_name() {
    for (code, is_delegated) in [(404, false), (503, true)] {
        let world = World::new();
        let works = Arc::new(AtomicBool::new(true));
        let works_now = Arc::clone(&works);
        let answer = well_known(move || {
            if works_now.load(Ordering::SeqCst) { json(r#"{"m.server":"b.example:5"}"#) } else { status(code, "{}") }
        });
        let at = Server::start(&world.authority, &["a.example", "b.example"], answer).await;
        for name in ["a.example:443", "a.example:8448", "b.example:5"] {
            world.names.host(name, at.address);
        }
        let client = world.client().await;
        client.call(&server("a.example"), version()).await.unwrap();
        assert_eq!(reached(&at).0, "b.example:5");
        works.store(false, Ordering::SeqCst);
        world.clock.advance(Duration::from_secs(24 * 3600 + 1));
        client.call(&server("a.example"), version()).await.unwrap();
        assert_eq!(reached(&at).0, if is_delegated { "b.example:5" } else { "a.example" }, "{code}");
    }
}

#[tokio::test]
async fn redirects_of_the_well_known_are_followed() {
    let world = World::new();
    let web = Server::start(&world.authority, &["a.example"], |_| {
        let mut answer = status(301, "");
        answer.headers_mut().insert(LOCATION, HeaderValue::from_static("https://w.example/x"));
        answer
    })
    .await;
    let at = Server::start(&world.authority, &["w.example"], |_| json(r#"{"m.server":"w.example:5"}"#)).await;
    world.names.host("a.example:443", web.address);
    world.names.host("w.example:443", at.address);
    world.names.host("w.example:5", at.address);
    world.client().await.call(&server("a.example"), version()).await.unwrap();
    assert_eq!(reached(&at).0, "w.example:5");
}
