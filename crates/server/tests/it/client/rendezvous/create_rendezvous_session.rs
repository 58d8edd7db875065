//! Creating sessions: who may, and how many.

use std::time::Duration;

use http::Method;
use plexus_testkit::TestServer;
use serde_json::json;

use super::{LIFETIME_MS, MSC4108, MSC4388, START_MS, create, header, path_of, plain, request, server};
use crate::client::get_unauthenticated;

async fn flags(server: &TestServer) -> [serde_json::Value; 2] {
    let versions = get_unauthenticated(server, "/_matrix/client/versions").await;
    ["io.element.msc4388", "org.matrix.msc4108"].map(|name| versions.ok()["unstable_features"][name].clone())
}

#[tokio::test]
async fn without_the_options_there_are_no_such_endpoints() {
    let server = TestServer::sqlite().await;
    assert_eq!(flags(&server).await, [json!(false), json!(false)]);
    for (method, path) in [
        (Method::GET, MSC4388.to_owned()),
        (Method::POST, MSC4388.to_owned()),
        (Method::GET, format!("{MSC4388}/x")),
        (Method::PUT, format!("{MSC4388}/x")),
        (Method::PUT, format!("{MSC4388}/x/1")),
        (Method::DELETE, format!("{MSC4388}/x")),
        (Method::POST, MSC4108.to_owned()),
        (Method::GET, format!("{MSC4108}/x")),
        (Method::PUT, format!("{MSC4108}/x")),
        (Method::DELETE, format!("{MSC4108}/x")),
    ] {
        let body = r#"{"data":"x","sequence_token":"1"}"#;
        let answer = plain(&server, method.clone(), &path, &[], body).await;
        assert_eq!(answer.refusal(), (404, "M_UNRECOGNIZED"), "{method} {path}");
    }
}

#[tokio::test]
async fn users_or_everybody_may_create_sessions() {
    let server = server("{msc4388_mode: authenticated}").await;
    assert_eq!(flags(&server).await, [json!(true), json!(false)]);
    let alice = server.register("alice").await;
    let body = json!({ "data": "x" });
    let nobody = request(&server, Method::GET, MSC4388, None).await;
    assert_eq!(nobody.ok(), &json!({ "create_available": false }));
    let nobody = request(&server, Method::POST, MSC4388, Some(body.clone())).await;
    assert_eq!(nobody.refusal(), (403, "M_FORBIDDEN"));
    assert_eq!(server.get(MSC4388, &alice.token).await.ok(), &json!({ "create_available": true }));
    let created = server.post(MSC4388, &alice.token, body.clone()).await;
    // Whoever knows its id uses it.
    let path = format!("{MSC4388}/{}", created.ok()["id"].as_str().unwrap());
    assert_eq!(request(&server, Method::GET, &path, None).await.ok()["data"], json!("x"));
    assert_eq!(server.get(MSC4388, "wrong").await.refusal(), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(server.post(MSC4388, "wrong", body.clone()).await.refusal(), (401, "M_UNKNOWN_TOKEN"));

    let server = super::server("{msc4388_mode: open}").await;
    let nobody = request(&server, Method::GET, MSC4388, None).await;
    assert_eq!(nobody.ok(), &json!({ "create_available": true }));
    create(&server, "x").await;
    for (body, expected) in [
        (json!({}), (400, "M_MISSING_PARAM")),
        (json!({ "data": 1 }), (400, "M_BAD_JSON")),
        (json!({ "data": "x".repeat(4_097) }), (413, "M_TOO_LARGE")),
    ] {
        assert_eq!(request(&server, Method::POST, MSC4388, Some(body)).await.refusal(), expected);
    }
    create(&server, &"x".repeat(4_096)).await;
}

#[tokio::test]
async fn an_address_creates_only_so_many() {
    let server = server("{msc4388_mode: open, msc4108_enabled: true}").await;
    for _ in 0..20 {
        create(&server, "x").await;
    }
    let answer = request(&server, Method::POST, MSC4388, Some(json!({ "data": "x" }))).await;
    assert_eq!(answer.refusal(), (429, "M_LIMIT_EXCEEDED"));
    assert_eq!(plain(&server, Method::POST, MSC4108, &[], "x").await.refusal(), (429, "M_LIMIT_EXCEEDED"));
    server.clock().advance(Duration::from_secs(10));
    create(&server, "x").await;
}

#[tokio::test]
async fn sessions_by_etag_have_a_url_and_an_end() {
    let server = server("{msc4108_enabled: true}").await;
    assert_eq!(flags(&server).await, [json!(false), json!(true)]);
    let created = plain(&server, Method::POST, MSC4108, &[], "hello").await;
    let path = path_of(&created);
    assert_eq!(header(&created, "content-type"), "application/json");
    assert_eq!(header(&created, "expires"), "Tue, 14 Nov 2023 22:18:20 GMT");
    assert_eq!(header(&created, "last-modified"), "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_eq!(header(&created, "cache-control"), "no-store, no-transform");
    assert_eq!(header(&created, "access-control-expose-headers"), "ETag");
    assert_eq!(START_MS + LIFETIME_MS, 1_700_000_300_000);

    // Browsers ask first whether they may send these headers.
    let preflight = plain(&server, Method::OPTIONS, &path, &[], "").await;
    assert!(header(&preflight, "access-control-allow-headers").contains("If-Match, If-None-Match"));

    assert_eq!(plain(&server, Method::POST, MSC4108, &[], &"x".repeat(4_097)).await.refusal(), (413, "M_TOO_LARGE"));
    let json = server.post(MSC4108, "", json!({})).await;
    assert_eq!(json.refusal(), (400, "M_INVALID_PARAM"));
    let untyped = server.send(Method::POST, MSC4108, None, &[], bytes::Bytes::from_static(b"x")).await;
    assert_eq!(untyped.refusal(), (400, "M_MISSING_PARAM"));

    server.clock().advance(Duration::from_millis(LIFETIME_MS - 1));
    assert_eq!(plain(&server, Method::GET, &path, &[], "").await.bytes, "hello");
    server.clock().advance(Duration::from_millis(1));
    assert_eq!(plain(&server, Method::GET, &path, &[], "").await.refusal(), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn another_server_is_named_where_one_is_configured() {
    let server = server("{msc4108_delegation_endpoint: 'https://rendezvous.example/'}").await;
    assert_eq!(flags(&server).await, [json!(false), json!(true)]);
    let answer = plain(&server, Method::POST, MSC4108, &[], "hello").await;
    assert_eq!((answer.status, header(&answer, "location")), (307, "https://rendezvous.example/"));
}
