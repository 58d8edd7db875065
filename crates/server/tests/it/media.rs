//! Media over HTTP.

use axum::body::Bytes;
use http::Method;
use plexus_testkit::TestPlace;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::json;

async fn upload(server: &TestServer, user: &TestUser, query: &str, content_type: &str, bytes: &'static [u8]) -> Answer {
    let headers = [("Content-Type", content_type)];
    let path = format!("/_matrix/media/v3/upload{query}");
    server.send(Method::POST, &path, Some(&user.token), &headers, Bytes::from_static(bytes)).await
}

/// The part of the address after `mxc://`.
fn place(answer: &Answer) -> String {
    let uri = answer.ok()["content_uri"].as_str().unwrap_or_default();
    uri.strip_prefix("mxc://").expect("an mxc URI").to_owned()
}

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

#[tokio::test(flavor = "multi_thread")]
async fn an_id_can_be_had_before_its_content() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let created = server.post("/_matrix/media/v1/create", &alice.token, json!({})).await;
        let place = place(&created);
        assert!(created.body["unused_expires_at"].as_u64().is_some_and(|at| at > server.clock().now_ms()));

        let download = format!("/_matrix/client/v1/media/download/{place}?timeout_ms=0");
        assert_eq!(server.get(&download, &bob.token).await.refusal(), (504, "M_NOT_YET_UPLOADED"));
        let fill = format!("/_matrix/media/v3/upload/{place}");
        let put = async |token| {
            server
                .send(Method::PUT, &fill, Some(token), &[("Content-Type", "text/plain")], Bytes::from_static(b"late"))
                .await
        };
        assert_eq!(put(&bob.token).await.refusal(), (403, "M_FORBIDDEN"));
        put(&alice.token).await.ok();
        assert_eq!(put(&alice.token).await.refusal(), (409, "M_CANNOT_OVERWRITE_MEDIA"));
        assert_eq!(&*server.get(&download, &bob.token).await.bytes, b"late");
    }
}

/// A red GIF of 4x2 pixels and a red WebP of 1x1.
pub(crate) const GIF: &[u8] = b"GIF87a\x04\x00\x02\x00\x81\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x04\x00\x02\x00\x00\x08\x07\x00\x01\x08\x1c(0 \x00;";
const WEBP: &[u8] =
    b"RIFF\x1c\x00\x00\x00WEBPVP8L\x0f\x00\x00\x00/\x00\x00\x00\x00\x07\x10\xfd\x8f\xfe\x07\x22\xa2\xff\x01\x00";

#[tokio::test(flavor = "multi_thread")]
async fn thumbnails_are_made_of_images_and_of_nothing_else() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let thumbnail = async |place: &str, query: &str| {
        server.get(&format!("/_matrix/client/v1/media/thumbnail/{place}?{query}"), &alice.token).await
    };
    for (content_type, bytes) in [("image/gif", GIF), ("image/webp", WEBP)] {
        let place = place(&upload(&server, &alice, "", content_type, bytes).await);
        let answer = thumbnail(&place, "width=32&height=32&method=crop").await;
        assert_eq!(
            (answer.status, answer.headers["content-type"].as_bytes()),
            (200, &b"image/png"[..]),
            "{content_type}"
        );
        assert!(answer.bytes.starts_with(b"\x89PNG"));
        assert_eq!(thumbnail(&place, "width=32").await.refusal(), (400, "M_MISSING_PARAM"));
        assert_eq!(thumbnail(&place, "width=32&height=-1").await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(thumbnail(&place, "width=32&height=32&method=twist").await.refusal(), (400, "M_INVALID_PARAM"));
    }
    for (content_type, bytes) in [("text/plain", &b"hello"[..]), ("image/png", b"no png at all")] {
        let place = place(&upload(&server, &alice, "", content_type, bytes).await);
        let answer = thumbnail(&place, "width=32&height=32").await;
        assert_eq!(answer.refusal(), (400, "M_UNKNOWN"), "{content_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn animated_thumbnails_are_for_those_who_ask_for_them() {
    let (head, frame) = (&GIF[..25], &GIF[25..GIF.len() - 1]);
    let control = b"\x21\xf9\x04\x00\x0a\x00\x00\x00";
    let twice = [head, control, frame, control, frame, b";"].concat().leak();
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let thumbnail = async |place: &str, query: &str| {
            let path = format!("/_matrix/client/v1/media/thumbnail/{place}?width=32&height=32&{query}");
            server.get(&path, &alice.token).await
        };
        let moving = place(&upload(&server, &alice, "", "image/gif", twice).await);
        let still = place(&upload(&server, &alice, "", "image/gif", GIF).await);
        for (place, query, content_type) in [
            (&moving, "animated=true", "image/gif"),
            (&moving, "animated=true&method=crop", "image/gif"),
            (&moving, "animated=true", "image/gif"),
            (&moving, "animated=false", "image/png"),
            (&moving, "", "image/png"),
            (&still, "animated=true", "image/png"),
            (&still, "animated=true", "image/png"),
        ] {
            let answer = thumbnail(place, query).await;
            assert_eq!(
                (answer.status, &answer.headers["content-type"]),
                (200, &content_type.parse().unwrap()),
                "{query}"
            );
            let frames = answer.bytes.windows(3).filter(|bytes| *bytes == b"\x21\xf9\x04").count();
            assert_eq!(frames, if content_type == "image/gif" { 2 } else { 0 }, "{query}");
        }
        assert_eq!(thumbnail(&moving, "animated=x").await.refusal(), (400, "M_INVALID_PARAM"));
    }
}
