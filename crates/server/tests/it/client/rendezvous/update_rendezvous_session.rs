//! Reading, replacing and ending sessions.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{LIFETIME_MS, MSC4108, create, header, path_of, plain, request, server};

fn payload(token: &str, data: &str) -> Option<Value> {
    Some(json!({ "sequence_token": token, "data": data }))
}

#[tokio::test]
async fn payloads_are_replaced_by_whoever_has_seen_the_last_one() {
    let server = server("{msc4388_mode: open}").await;
    let path = create(&server, "from G").await;
    server.clock().advance(Duration::from_secs(1));
    let expected = json!({ "data": "from G", "sequence_token": "1", "expires_in_ms": LIFETIME_MS - 1_000 });
    assert_eq!(request(&server, Method::GET, &path, None).await.ok(), &expected);

    let transaction = |id: &str| format!("{path}/{id}");
    let sent = request(&server, Method::PUT, &transaction("s1"), payload("1", "from S")).await;
    assert_eq!(sent.ok(), &json!({ "sequence_token": "2" }));
    // A client that missed the response repeats the request, and writes nothing.
    let next = request(&server, Method::PUT, &transaction("g1"), payload("2", "from G again")).await;
    assert_eq!(next.ok(), &json!({ "sequence_token": "3" }));
    let again = request(&server, Method::PUT, &transaction("s1"), payload("1", "from S")).await;
    assert_eq!(again.ok(), &json!({ "sequence_token": "2" }));
    assert_eq!(request(&server, Method::GET, &path, None).await.ok()["data"], json!("from G again"));

    // Also where the response was a refusal.
    let conflict = (409, "IO_ELEMENT_MSC4388_CONCURRENT_WRITE");
    for token in ["2", "4", "x"] {
        let late = request(&server, Method::PUT, &transaction(token), payload(token, "late")).await;
        assert_eq!(late.refusal(), conflict);
    }
    let same = request(&server, Method::PUT, &transaction("x"), payload("3", "in time")).await;
    assert_eq!(same.refusal(), conflict);
    // Earlier clients name no transaction.
    let sent = request(&server, Method::PUT, &path, payload("3", "last")).await;
    assert_eq!(sent.ok(), &json!({ "sequence_token": "4" }));
    assert_eq!(request(&server, Method::PUT, &path, payload("3", "late")).await.refusal(), conflict);

    assert_eq!(request(&server, Method::DELETE, &path, None).await.ok(), &json!({}));
    for (method, body) in [(Method::GET, None), (Method::PUT, payload("4", "x")), (Method::DELETE, None)] {
        assert_eq!(request(&server, method, &path, body).await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test]
async fn bad_payloads_and_browsers_are_refused() {
    let server = server("{msc4388_mode: open, msc4108_enabled: true}").await;
    let path = create(&server, "x").await;
    for (body, expected) in [
        (json!({ "data": "y" }), (400, "M_MISSING_PARAM")),
        (json!({ "data": "y", "sequence_token": 1 }), (400, "M_BAD_JSON")),
        (json!({ "data": "y".repeat(4_097), "sequence_token": "1" }), (413, "M_TOO_LARGE")),
    ] {
        assert_eq!(request(&server, Method::PUT, &path, Some(body)).await.refusal(), expected);
    }
    let long = format!("{path}/{}", "t".repeat(256));
    assert_eq!(request(&server, Method::PUT, &long, payload("1", "y")).await.refusal(), (400, "M_INVALID_PARAM"));
    assert_eq!(request(&server, Method::GET, &path, None).await.ok()["sequence_token"], json!("1"));

    let created = plain(&server, Method::POST, MSC4108, &[], "x").await;
    for path in [path, path_of(&created)] {
        for header in [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")] {
            assert_eq!(plain(&server, Method::GET, &path, &[header], "").await.refusal(), (403, "M_FORBIDDEN"));
        }
        let fetched = plain(&server, Method::GET, &path, &[("Sec-Fetch-Mode", "cors")], "").await;
        assert_eq!(fetched.status, 200);
    }
}

#[tokio::test]
async fn etags_say_which_payload_a_client_has_seen() {
    let server = server("{msc4108_enabled: true}").await;
    let created = plain(&server, Method::POST, MSC4108, &[], "from G").await;
    let (path, first) = (path_of(&created), header(&created, "etag").to_owned());
    let read = plain(&server, Method::GET, &path, &[], "").await;
    assert_eq!((read.status, &read.bytes[..], header(&read, "etag")), (200, &b"from G"[..], first.as_str()));
    assert_eq!(header(&read, "content-type"), "text/plain");
    let weak = format!("\"other\", W/{first}");
    for seen in [first.as_str(), &weak, "*"] {
        let read = plain(&server, Method::GET, &path, &[("If-None-Match", seen)], "").await;
        assert_eq!((read.status, read.bytes.len(), header(&read, "etag")), (304, 0, first.as_str()));
    }

    assert_eq!(plain(&server, Method::PUT, &path, &[], "from S").await.refusal(), (400, "M_MISSING_PARAM"));
    let written = plain(&server, Method::PUT, &path, &[("If-Match", &first)], "from S").await;
    assert_eq!(written.status, 202);
    let second = header(&written, "etag");
    assert_ne!(second, first);
    let read = plain(&server, Method::GET, &path, &[("If-None-Match", &first)], "").await;
    assert_eq!((read.status, &read.bytes[..]), (200, &b"from S"[..]));
    let late = plain(&server, Method::PUT, &path, &[("If-Match", &first)], "late").await;
    assert_eq!((late.refusal(), header(&late, "etag")), ((412, "M_UNKNOWN"), second));
    assert_eq!(late.body["org.matrix.msc4108.errcode"], json!("M_CONCURRENT_WRITE"));

    let large = "x".repeat(4_097);
    assert_eq!(
        plain(&server, Method::PUT, &path, &[("If-Match", second)], &large).await.refusal(),
        (413, "M_TOO_LARGE")
    );
    assert_eq!(plain(&server, Method::DELETE, &path, &[], "").await.status, 204);
    assert_eq!(plain(&server, Method::DELETE, &path, &[], "").await.refusal(), (404, "M_NOT_FOUND"));
    let gone = plain(&server, Method::PUT, &path, &[("If-Match", second)], "x").await;
    assert_eq!(gone.refusal(), (404, "M_NOT_FOUND"));
}
