//! Proxies and targets that fail: which of them is blamed.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderValue;
use http::header::CONNECTION;
use plexus_net::{HttpError, Limits, Patience, Purpose};
use plexus_testkit::{ForwardProxy, ProxyConduct, within};

use super::{PATIENCE, limits, problem, request, through};
use crate::keys;
use crate::support::{A, NOW, Seen, Server, World, get, json, put, server, status};

#[tokio::test]
async fn a_proxy_that_fails_is_named_and_blamed_until_it_works_again() {
    let password = "http://user:secret@";
    for (conduct, reason) in [
        (ProxyConduct::PassOn(Some("other")), "it does not accept the user name and password (407)"),
        (ProxyConduct::Respond("SSH-2.0-OpenSSH\r\n\r\n"), "its response is not HTTP"),
    ] {
        let proxy = ForwardProxy::start().await;
        let mut world = World::new();
        world.http.proxies = through(&proxy, password);
        let at = world.serve(|_| json("{}")).await;
        proxy.name(A, at.address);
        proxy.behave(conduct.clone());
        let client = world.client().await;
        let error = problem(client.call(&server(A), get("/")).await);
        assert!(error.contains(&format!("the proxy http://{} fails: {reason}", proxy.address)), "{conduct:?}: {error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(!client.is_failing(&server(A)), "the server is blamed: {conduct:?}");
        // It is left alone for a moment, and then tried by itself.
        let seen = proxy.requests().len();
        let error = problem(client.call(&server(A), get("/")).await);
        assert!(error.contains("it failed a moment ago"), "{conduct:?}: {error}");
        assert_eq!(proxy.requests().len(), seen);
        proxy.behave(ProxyConduct::PassOn(None));
        world.clock.advance(Duration::from_secs(1));
        client.call(&server(A), get("/")).await.unwrap();
    }
}

#[tokio::test]
async fn a_proxy_that_is_out_of_order_says_nothing_about_a_servers_keys() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    let current = keys::key(1);
    let text = keys::statement(A, &current, NOW + 86_400_000, None).to_json();
    let at = world.serve(move |_| json(text.clone())).await;
    proxy.name(A, at.address);
    let ring = keys::ring(&world, Vec::new()).await;
    let find = || keys::find(&ring, keys::wanted(A, &current, NOW));
    proxy.behave(ProxyConduct::Respond("SSH-2.0-OpenSSH\r\n\r\n"));
    assert!(find().await.is_none());
    let wanted = HashMap::from([(current.key_id().to_owned(), NOW)]);
    assert!(ring.vouch_for(&server(A), &wanted, None).await.unwrap().is_empty());
    proxy.behave(ProxyConduct::PassOn(None));
    world.clock.advance(Duration::from_secs(2));
    assert!(find().await.is_some(), "it is not remembered as missing");
}

#[tokio::test]
async fn a_proxy_that_is_out_of_order_says_nothing_about_where_a_server_is() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    let client = world.client().await;
    proxy.behave(ProxyConduct::Respond(""));
    let name = server("a.example");
    let error = problem(client.call(&name, get("/")).await);
    assert!(error.contains("instead of opening one to a.example:443"), "{error}");
    assert_eq!(proxy.requests(), ["CONNECT a.example:443 HTTP/1.1"], "nothing is sent to where it may not be");
    assert!(!client.is_failing(&name));
    // A proxy that opens no connections to this port is in order.
    proxy.behave(ProxyConduct::Respond("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"));
    client.call(&name, get("/")).await.unwrap_err();
    assert_eq!(proxy.requests().last().unwrap(), "CONNECT a.example:8448 HTTP/1.1");
}

#[tokio::test]
async fn a_proxy_that_is_out_of_order_does_not_move_a_known_server() {
    let (moved, gone) = (r#"{"m.server":"b.example:5"}"#, "{}");
    for (code, well_known) in [(200, moved), (404, gone)] {
        let proxy = ForwardProxy::start().await;
        let mut world = World::new();
        world.http.proxies = through(&proxy, "");
        let answer = move |seen: &Seen| {
            let is_well_known = seen.path == "/.well-known/matrix/server";
            let mut response = if is_well_known { status(code, well_known) } else { json("{}") };
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        };
        let at = Server::start(&world.authority, &["a.example", "b.example"], answer).await;
        for place in ["a.example:443", "a.example:8448", "b.example:5"] {
            proxy.name(place, at.address);
        }
        let client = world.client().await;
        client.call(&server("a.example"), get("/")).await.unwrap();
        // By then what is known has expired.
        world.clock.advance(Duration::from_secs(49 * 3600));
        proxy.behave(ProxyConduct::Respond("SSH-2.0-OpenSSH\r\n\r\n"));
        let seen = proxy.requests().len();
        let error = problem(client.call(&server("a.example"), get("/")).await);
        assert!(error.contains("its response is not HTTP"), "{code}: {error}");
        assert_eq!(proxy.requests()[seen..], ["CONNECT a.example:443 HTTP/1.1"], "{code}");
    }
}

#[tokio::test]
async fn keys_of_a_server_that_the_proxy_refuses_are_remembered_as_missing() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    let ring = keys::ring(&world, Vec::new()).await;
    let current = keys::key(1);
    proxy.behave(ProxyConduct::Respond("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"));
    assert!(keys::find(&ring, keys::wanted(A, &current, NOW)).await.is_none());
    let asked = proxy.requests().len();
    world.clock.advance(Duration::from_secs(2));
    assert!(keys::find(&ring, keys::wanted(A, &current, NOW)).await.is_none());
    assert_eq!(proxy.requests().len(), asked);
}

/// Neither a name that is none nor one silent target takes the proxy away from the others.
#[tokio::test]
async fn a_target_alone_is_not_held_against_the_proxy() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    let at = world.serve(|_| json("{}")).await;
    proxy.name(A, at.address);
    world.names.service("_matrix-fed._tcp.evil.example", 0, "a\\b c", 9);
    let client = world.client().await;
    let error = problem(client.call(&server("evil.example"), get("/")).await);
    assert!(error.contains("is no host that it could be asked for"), "{error}");
    assert!(client.is_failing(&server("evil.example")));
    client.call(&server(A), get("/")).await.unwrap();

    let hang_up = ProxyConduct::Respond("");
    let client = world.client().await;
    proxy.behave(hang_up.clone());
    for _ in 0..3 {
        let error = problem(client.call(&server("b.example:5"), get("/")).await);
        assert!(error.contains("it closes the connection instead of opening one to b.example:5"), "{error}");
        assert!(!client.is_failing(&server("b.example:5")), "nobody knows who is to blame");
    }
    let error = problem(client.call(&server("c.example:5"), get("/")).await);
    assert!(error.contains("instead of opening one to c.example:5"), "{error}");
    // It serves nobody.
    let error = problem(client.call(&server(A), get("/")).await);
    assert!(error.contains("it failed a moment ago"), "{error}");
}

#[tokio::test]
async fn what_a_web_server_says_is_not_the_proxys_word() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "user:secret@");
    let at = world.serve(|_| json("{}")).await;
    proxy.name(A, at.address);
    proxy.behave(ProxyConduct::Respond("HTTP/1.1 407 Mine\r\ncontent-length: 0\r\n\r\n"));
    let http = world.http_client().unwrap();
    http.fetch(Purpose::UrlPreview(limits()), request("http://evil.example/")).await.unwrap_err();
    proxy.behave(ProxyConduct::PassOn(None));
    world.client().await.call(&server(A), get("/")).await.unwrap();
    assert_eq!(http.fetch(Purpose::UrlPreview(limits()), request("http://a.example/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_proxy_that_is_down_delays_deliveries_and_blames_nobody_else() {
    let proxy = ForwardProxy::start().await;
    let place = proxy.address.to_string();
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    drop(proxy);
    let target = world.serve(|_| json("{}")).await;
    let client = world.client().await;
    let delivery = || put("/send", "{}").patience(Patience::Persistent);
    let error = problem(client.call(&server(A), delivery()).await);
    assert!(error.contains(&format!("the proxy http://{place} fails: cannot connect to")), "{error}");
    assert!(client.will_be_retried(&server(A)) && !client.is_failing(&server(A)));
    // However often it fails, the next try comes within the longest pause.
    for _ in 0..8 {
        world.clock.advance(Duration::from_secs(45));
        assert_eq!(within(PATIENCE, client.came_back()).await.unwrap().server, server(A));
        problem(client.call(&server(A), delivery()).await);
        assert!(!client.is_failing(&server(A)));
    }
    let proxy = ForwardProxy::start_at(&place).await;
    proxy.name(A, target.address);
    world.clock.advance(Duration::from_secs(45));
    within(PATIENCE, client.came_back()).await.unwrap();
    client.call(&server(A), delivery()).await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_refuses_one_target_is_used_for_others() {
    let proxy = ForwardProxy::start().await;
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    let at = world.serve(|_| json("{}")).await;
    proxy.name(A, at.address);
    let client = world.client().await;
    proxy.behave(ProxyConduct::Respond("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"));
    let error = problem(client.call(&server("b.example:5"), get("/")).await);
    assert!(error.contains("does not open a connection to b.example:5: it responded with 403"), "{error}");
    assert!(!client.is_failing(&server("b.example:5")));
    proxy.behave(ProxyConduct::PassOn(None));
    client.call(&server(A), get("/")).await.unwrap();
    // It says itself that this one cannot be reached.
    let error = problem(client.call(&server("c.example:5"), get("/")).await);
    assert!(error.contains("503"), "{error}");
    assert!(client.is_failing(&server("c.example:5")));
}

#[tokio::test]
async fn a_proxy_that_never_answers_is_named() {
    let proxy = ForwardProxy::start().await;
    proxy.behave(ProxyConduct::Silence);
    let mut world = World::new();
    world.http.proxies = through(&proxy, "");
    let http = world.http_client().unwrap();
    let brief = Limits { timeout: Duration::from_millis(400), max_response_bytes: 1 };
    let error = http.fetch(Purpose::UrlPreview(brief), request("https://a.example/")).await.unwrap_err();
    assert!(matches!(error, HttpError::Connect(_)), "{error}");
    assert!(error.to_string().contains("did not open a connection to a.example:443 within 300 ms"), "{error}");
}
