//! Uploads, and how they are downloaded.

use axum::body::Bytes;
use http::Method;
use plexus_testkit::TestPlace;
use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::media::{place, upload};

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_downloaded_with_a_token() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let place = place(&upload(&server, &alice, "?filename=caf%C3%A9.txt", "text/plain", b"hello").await);

        let answer = server.get(&format!("/_matrix/client/v1/media/download/{place}"), &bob.token).await;
        assert_eq!((answer.status, &*answer.bytes), (200, &b"hello"[..]));
        assert_eq!(answer.headers["content-type"], "text/plain");
        assert_eq!(answer.headers["content-disposition"], "inline; filename*=utf-8''caf%C3%A9.txt");
        assert_eq!(answer.headers["cross-origin-resource-policy"], "cross-origin");

        let renamed = server.get(&format!("/_matrix/client/v1/media/download/{place}/other.txt"), &bob.token).await;
        assert_eq!(renamed.headers["content-disposition"], "inline; filename=other.txt");

        let path = format!("/_matrix/client/v1/media/download/{place}");
        let tag = answer.headers["etag"].to_str().expect("text").to_owned();
        let headers = [("If-None-Match", tag.as_str())];
        let known = server.send(Method::GET, &path, Some(&bob.token), &headers, Bytes::new()).await;
        assert_eq!((known.status, known.bytes.len()), (304, 0));

        let nobody = server.request(Method::GET, &path, None, None).await;
        assert_eq!(nobody.refusal(), (401, "M_MISSING_TOKEN"));
        let old = server.request(Method::GET, &format!("/_matrix/media/v3/download/{place}"), None, None).await;
        assert_eq!(old.refusal(), (404, "M_NOT_FOUND"));
        let unknown = server.get("/_matrix/client/v1/media/download/test.example/AAAAAAAA", &bob.token).await;
        assert_eq!(unknown.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_drawings_do_not_run_in_a_browser() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    for content_type in ["text/html", "image/svg+xml", "application/xhtml+xml", "nonsense"] {
        let place = place(&upload(&server, &alice, "", content_type, b"<script>alert(1)</script>").await);
        let answer = server.get(&format!("/_matrix/client/v1/media/download/{place}"), &alice.token).await;
        let policy = answer.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("sandbox; default-src 'none'; script-src 'none'"), "{policy}");
        assert_eq!(answer.headers["content-disposition"], "attachment", "{content_type}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_limit_is_published_and_kept() {
    let server = TestServer::on(TestPlace::sqlite()).config("max_upload_size: 1K").start().await;
    let alice = server.register("alice").await;
    for path in ["/_matrix/client/v1/media/config", "/_matrix/media/v3/config"] {
        assert_eq!(server.get(path, &alice.token).await.ok(), &json!({ "m.upload.size": 1024 }));
    }
    upload(&server, &alice, "", "text/plain", &[b'x'; 1024]).await.ok();
    assert_eq!(upload(&server, &alice, "", "text/plain", &[b'x'; 1025]).await.refusal(), (413, "M_TOO_LARGE"));
    let nobody = server.request(Method::POST, "/_matrix/media/v3/upload", None, None).await;
    assert_eq!(nobody.refusal(), (401, "M_MISSING_TOKEN"));
}

pub(crate) const WEBP: &[u8] =
    b"RIFF\x1c\x00\x00\x00WEBPVP8L\x0f\x00\x00\x00/\x00\x00\x00\x00\x07\x10\xfd\x8f\xfe\x07\x22\xa2\xff\x01\x00";
