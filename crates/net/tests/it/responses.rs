//! What is sent, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use plexus_net::{Call, FederationError, Limits, Patience, Purpose};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::x_matrix::{Request, XMatrix};

use crate::support::{A, Body, OURS, Server, World, get, json, our_key, put, server, status, stuck};

const SEND: &str = "/_matrix/federation/v1/send/1?a=%2F";

/// A body that goes on for ever, as fast as it is read.
fn endless() -> Response<Body> {
    let chunks = futures_util::stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'x'; 8192]))));
    Response::new(BodyExt::boxed(StreamBody::new(chunks)))
}

/// A body that ends too early.
fn broken() -> Response<Body> {
    let begun = futures_util::stream::iter([
        Ok(Frame::data(Bytes::from_static(b"{"))),
        Err(std::io::Error::other("the server's own fault")),
    ]);
    Response::new(BodyExt::boxed(StreamBody::new(begun)))
}

#[tokio::test]
async fn requests_are_signed_for_their_destination() {
    let world = World::new();
    let at = world.serve(|_| json("{\"ok\":true}")).await;
    let name = server(A);
    let body = r#"{ "b": [1.50, 100000000000000000001], "a": "é" }"#;
    let answer = world.client().await.call(&name, put(SEND, body)).await.unwrap();
    assert_eq!(answer, "{\"ok\":true}");

    let seen = &at.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PUT", SEND));
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(seen.headers["user-agent"], "Plexus/test");
    let header = XMatrix::parse(seen.headers["authorization"].to_str().unwrap()).unwrap();
    assert_eq!((header.origin.as_str(), header.destination.as_ref()), (OURS, Some(&name)));
    let content = Value::Object(Object::parse(std::str::from_utf8(&seen.body).unwrap()).unwrap());
    let request = Request { method: "PUT", uri: SEND, destination: &name, content: Some(&content) };
    assert!(header.verify(&request, &our_key().public_key()));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let world = World::new();
    let at = world.serve(|_| json("{}")).await;
    let client = world.client().await;
    for _ in 0..5 {
        client.call(&server(A), get("/x")).await.unwrap();
    }
    assert_eq!(at.connections(), 1);
}

#[tokio::test]
async fn an_error_answer_says_what_it_is() {
    let world = World::new();
    let _at = world
        .serve(|seen| match seen.path.as_str() {
            "/json" => status(403, r#"{"errcode":"M_FORBIDDEN","error":"no","extra":1}"#),
            _ => status(404, "<html>"),
        })
        .await;
    let client = world.client().await;
    let error = client.call(&server(A), get("/json")).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 403);
    assert_eq!(error.errcode(), Some("M_FORBIDDEN"));
    let FederationError::Status { body, .. } = error else { panic!("{error}") };
    assert!(std::str::from_utf8(&body).unwrap().contains("extra"));
    let error = client.call(&server(A), get("/html")).await.unwrap_err();
    assert_eq!((error.status().unwrap().as_u16(), error.errcode()), (404, None));
    // Neither is a reason to leave the server alone.
    assert_eq!(client.backing_off_until(&server(A)), None);
}

#[tokio::test]
async fn long_texts_of_other_servers_are_cut_in_messages() {
    let world = World::new();
    let text = "é".repeat(10_000);
    let body = format!(r#"{{"errcode":"{text}","error":"{text}"}}"#);
    let _at = world.serve(move |_| status(403, &body)).await;
    let error = world.client().await.call(&server(A), get("/")).await.unwrap_err();
    assert_eq!(error.errcode().unwrap().chars().count(), 10_000);
    assert!(error.to_string().len() < 2_000, "{}", error.to_string().len());
}

#[tokio::test]
async fn an_endpoint_is_unknown_by_its_errcode_or_by_the_status_alone() {
    let world = World::new();
    let _at = world
        .serve(|seen| match seen.path.as_str() {
            "/400" => status(400, r#"{"errcode":"M_UNRECOGNIZED"}"#),
            "/404" => status(404, r#"{"errcode":"M_UNRECOGNIZED"}"#),
            "/405/html" => status(405, "<html>"),
            "/404/json" => status(404, "{}"),
            "/404/missing" => status(404, r#"{"errcode":"M_NOT_FOUND"}"#),
            "/400/json" => status(400, "{}"),
            _ => status(403, r#"{"errcode":"M_UNRECOGNIZED"}"#),
        })
        .await;
    let client = world.client().await;
    for (path, is_unknown) in [
        ("/400", true),
        ("/404", true),
        ("/405/html", true),
        ("/404/json", true),
        ("/404/missing", false),
        ("/400/json", false),
        ("/403", false),
    ] {
        let error = client.call(&server(A), get(path)).await.unwrap_err();
        assert_eq!(error.is_unknown_endpoint(), is_unknown, "{path}");
    }
}

#[tokio::test]
async fn a_request_that_must_not_be_repeated_is_sent_once() {
    for (method, sent) in [(Method::POST, 1), (Method::GET, 2)] {
        let world = World::new();
        let at = world
            .serve(|seen| match seen.path.as_str() {
                "/breaks" => panic!("the connection ends without a response"),
                _ => json("{}"),
            })
            .await;
        let client = world.client().await;
        client.call(&server(A), get("/")).await.unwrap();
        let error = client.call(&server(A), Call::new(method, "/breaks", 100)).await.unwrap_err();
        assert!(matches!(error, FederationError::Broken { .. }), "{error}");
        assert_eq!(at.count("/breaks"), sent);
    }
}

#[tokio::test]
async fn the_causes_of_a_broken_connection_are_in_the_message() {
    let world = World::new();
    let _at = world.serve(|_| broken()).await;
    let error = world.client().await.call(&server(A), get("/")).await.unwrap_err();
    assert!(matches!(error, FederationError::Broken { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("connection error: peer closed connection"), "{text}");
}

#[tokio::test]
async fn this_server_and_servers_that_are_not_allowed_are_not_asked() {
    let mut world = World::new();
    world.settings.allowed = Some(["friend.example".to_owned()].into());
    let client = world.client().await;
    let own = client.call(&server(OURS), get("/")).await;
    assert!(matches!(own, Err(FederationError::OwnServer)));
    let other = client.call(&server("a.example"), get("/")).await;
    assert!(matches!(other, Err(FederationError::NotAllowed(_))));
    assert!(client.is_allowed(&server("friend.example")));
}

#[tokio::test]
async fn what_is_not_a_request_is_refused_before_anything_is_sent() {
    let world = World::new();
    let client = world.client().await;
    for call in [get("/with space"), put("/x", "[]"), put("/x", "{")] {
        let refused = client.call(&server(A), call).await;
        assert!(matches!(refused, Err(FederationError::MalformedRequest(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn endless_and_stuck_bodies_are_cut_off() {
    let world = World::new();
    let _at = world
        .serve(|seen| match seen.path.as_str() {
            "/endless" => endless(),
            _ => stuck(),
        })
        .await;
    let client = world.client().await;
    let name = server(A);
    let endless = client.call(&name, Call::new(Method::GET, "/endless", 100_000)).await;
    assert!(matches!(endless, Err(FederationError::TooLarge { limit: 100_000, .. })), "{endless:?}");
    let quick = || get("/stuck").timeout(Duration::from_millis(300));
    let stuck = client.call(&name, quick()).await;
    assert!(matches!(stuck, Err(FederationError::Timeout(_))), "{stuck:?}");
    let mut streamed = client.stream(&name, Call::new(Method::GET, "/endless", 20_000)).await.unwrap();
    let mut read = 0;
    let end = loop {
        match streamed.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            end => break end,
        }
    };
    assert!(matches!(end, Err(FederationError::TooLarge { .. })) && read <= 20_000);
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_not_waited_for_for_ever() {
    let mut world = World::new();
    world.settings.timeout = Duration::from_millis(300);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.names.host("a.example:5", silent.local_addr().unwrap());
    let answer = world.client().await.call(&server(A), get("/")).await;
    assert!(matches!(answer, Err(FederationError::Timeout(_))), "{answer:?}");
}

#[tokio::test]
async fn a_short_timeout_is_not_held_against_the_destination() {
    let mut world = World::new();
    world.settings.timeout = Duration::from_millis(300);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.names.host("a.example:5", silent.local_addr().unwrap());
    let client = world.client().await;
    for (timeout, is_backed_off) in [(0, false), (299, false), (300, true)] {
        let call = get("/").timeout(Duration::from_millis(timeout));
        let error = client.call(&server(A), call).await.unwrap_err();
        assert!(matches!(error, FederationError::Timeout(_)), "{error}");
        assert_eq!(client.backing_off_until(&server(A)).is_some(), is_backed_off, "{timeout}");
    }
}

#[tokio::test]
async fn a_401_is_held_against_the_destination_only_if_nothing_about_the_request_may_be_to_blame() {
    for (call, is_backed_off) in
        [(get("/"), false), (put("/", "{}"), false), (put("/", "{}").unauthorized_is_outage(), true)]
    {
        let world = World::new();
        let _at = world.serve(|_| status(401, "{}")).await;
        let client = world.client().await;
        client.call(&server(A), call).await.unwrap_err();
        assert_eq!(client.backing_off_until(&server(A)).is_some(), is_backed_off);
    }
}

#[tokio::test]
async fn a_request_that_is_refused_is_not_held_against_the_destination() {
    for refused in [400, 401, 403, 404, 405, 408, 413, 422, 429, 451] {
        for patience in [Patience::Now, Patience::Background] {
            let world = World::new();
            let _at = world.serve(move |_| status(refused, r#"{"retry_after_ms":50000}"#)).await;
            let client = world.client().await;
            client.call(&server(A), get("/").patience(patience)).await.unwrap_err();
            client.call(&server(A), put("/", "{}").patience(patience)).await.unwrap_err();
            assert_eq!(client.backing_off_until(&server(A)), None, "{refused} {patience:?}");
            assert!(!client.is_failing(&server(A)), "{refused} {patience:?}");
        }
    }
}

#[tokio::test]
async fn media_that_are_not_uploaded_yet_are_not_held_against_their_server() {
    let world = World::new();
    let _at = world.serve(|_| status(504, r#"{"errcode":"M_NOT_YET_UPLOADED"}"#)).await;
    let client = world.client().await;
    let error = client.call(&server(A), get("/")).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 504);
    assert_eq!(client.backing_off_until(&server(A)), None);
}

#[tokio::test]
async fn a_location_is_fetched_with_its_redirects_and_bounds() {
    let world = World::new();
    let at = Server::start(&world.authority, &["cdn.example"], |seen| match seen.path.as_str() {
        "/first?x" => {
            let mut answer = status(307, "");
            answer.headers_mut().insert("location", http::HeaderValue::from_static("second"));
            answer
        }
        "/second" => json("media"),
        _ => status(404, "{}"),
    })
    .await;
    world.names.host("cdn.example:443", at.address);
    let client = world.client().await;
    let from = server("a.example");
    let media =
        |max_response_bytes| Purpose::RemoteMedia(Limits { timeout: Duration::from_secs(60), max_response_bytes });
    let mut answer = client.fetch(media(10), &from, "https://cdn.example/first?x").await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "media");
    assert!(answer.chunk().await.unwrap().is_none());
    // Not signed: it is not a server of Matrix.
    assert!(at.seen().iter().all(|seen| !seen.headers.contains_key("authorization")));
    let mut large = client.fetch(media(4), &from, "https://cdn.example/second").await.unwrap();
    assert!(matches!(large.chunk().await, Err(FederationError::TooLarge { .. })));
    let missing = client.fetch(media(10), &from, "https://cdn.example/third").await;
    assert_eq!(missing.err().and_then(|error| error.status()).unwrap(), 404);
    for nowhere in ["ftp://cdn.example/", "/x", "https://me@cdn.example/"] {
        assert!(client.fetch(media(10), &from, nowhere).await.is_err(), "{nowhere}");
    }
}

#[tokio::test]
async fn waiting_for_ones_turn_is_not_held_against_the_destination() {
    let mut world = World::new();
    world.http.max_connections = 1;
    world.settings.timeout = Duration::from_secs(2);
    let at = Server::start(&world.authority, &["a.example", "b.example"], |seen| match seen.path.as_str() {
        "/endless" => endless(),
        _ => json("{}"),
    })
    .await;
    world.names.every_host(at.address);
    let client = world.client().await;
    let held = client.stream(&server(A), get("/endless")).await.unwrap();
    let second = tokio::spawn({
        let client = std::sync::Arc::clone(&client);
        async move { client.call(&server("b.example:5"), get("/")).await }
    });
    // Longer than the timeout: real time has to pass, since the network's is real.
    assert!(plexus_testkit::within(Duration::from_millis(2500), std::future::pending::<()>()).await.is_err());
    drop(held);
    assert_eq!(second.await.unwrap().unwrap(), "{}");
}

#[tokio::test]
async fn a_server_that_kept_us_waiting_is_not_tried_again_at_once() {
    let mut world = World::new();
    world.settings.timeout = Duration::from_millis(200);
    world.settings.retries.short = 3;
    let at = world.serve(|_| stuck()).await;
    let client = world.client().await;
    let error = client.call(&server(A), get("/")).await.unwrap_err();
    assert!(matches!(error, FederationError::Timeout(_)), "{error}");
    assert_eq!(at.count("/"), 1);
}
