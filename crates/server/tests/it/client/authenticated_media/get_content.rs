//! Parts of files, and their headers alone.

use axum::body::Bytes;
use http::Method;
use plexus_testkit::server::{Answer, TestServer, TestUser};

use crate::client::media::place;

/// More than is read of a file at once.
const LENGTH: usize = 200_000;

fn content() -> Vec<u8> {
    (0..LENGTH).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Uploads the content; returns the path of its download.
async fn uploaded(server: &TestServer, user: &TestUser) -> String {
    let headers = [("Content-Type", "video/mp4")];
    let path = "/_matrix/media/v3/upload?filename=film.mp4";
    let answer = server.send(Method::POST, path, Some(&user.token), &headers, content().into()).await;
    format!("/_matrix/client/v1/media/download/{}", place(&answer))
}

async fn get(server: &TestServer, user: &TestUser, path: &str, headers: &[(&str, &str)]) -> Answer {
    server.send(Method::GET, path, Some(&user.token), headers, Bytes::new()).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_served() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let (path, content) = (uploaded(&server, &alice).await, content());
        for (range, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=65535-65536", 65_535, 65_536),
            ("bytes=100000-", 100_000, LENGTH - 1),
            ("bytes=-10", LENGTH - 10, LENGTH - 1),
            ("bytes=5-999999999999999999999999", 5, LENGTH - 1),
        ] {
            for path in [path.clone(), format!("{path}/other.mp4")] {
                let answer = get(&server, &alice, &path, &[("Range", range)]).await;
                assert_eq!(answer.status, 206, "{range}");
                assert!(*answer.bytes == content[first..=last], "{range}");
                assert_eq!(header(&answer, "content-range"), format!("bytes {first}-{last}/{LENGTH}"));
                assert_eq!(header(&answer, "content-length"), (last - first + 1).to_string());
                assert_eq!(header(&answer, "content-type"), "video/mp4");
                assert!(header(&answer, "content-disposition").starts_with("inline; filename="));
            }
        }
        for range in ["bytes=0-1,5-6", "bytes=6-5", "pages=1-2", "bytes=x"] {
            let answer = get(&server, &alice, &path, &[("Range", range)]).await;
            assert_eq!((answer.status, answer.bytes.len()), (200, LENGTH), "{range}");
            assert_eq!(header(&answer, "accept-ranges"), "bytes");
        }
        for range in ["bytes=200000-", "bytes=-0", "bytes=18446744073709551615-18446744073709551615"] {
            let answer = get(&server, &alice, &path, &[("Range", range)]).await;
            assert_eq!(answer.refusal(), (416, "M_INVALID_PARAM"), "{range}");
            assert_eq!(header(&answer, "content-range"), "bytes */200000");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_come_before_parts() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let path = uploaded(&server, &alice).await;
    let tag = header(&get(&server, &alice, &path, &[]).await, "etag").to_owned();
    let weak = format!("W/{tag}");
    for (name, value, status) in [
        ("If-Range", tag.as_str(), 206),
        ("If-Range", &weak, 200),
        ("If-Range", "\"another\"", 200),
        ("If-Range", "Wed, 21 Oct 2015 07:28:00 GMT", 200),
        ("If-None-Match", &tag, 304),
        ("If-None-Match", &weak, 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"another\"", 206),
        ("If-Match", &tag, 206),
        ("If-Match", "*", 206),
        ("If-Match", &weak, 412),
        ("If-Match", "\"another\", \"one\"", 412),
    ] {
        let answer = get(&server, &alice, &path, &[("Range", "bytes=0-9"), (name, value)]).await;
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    // Several lines are one list.
    let lines = [("If-None-Match", "\"another\""), ("If-None-Match", tag.as_str())];
    assert_eq!(get(&server, &alice, &path, &lines).await.status, 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_the_headers_of_the_whole_file() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let path = uploaded(&server, &alice).await;
    let whole = get(&server, &alice, &path, &[]).await;
    let head = server.send(Method::HEAD, &path, Some(&alice.token), &[("Range", "bytes=0-9")], Bytes::new()).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    for name in ["content-length", "content-type", "content-disposition", "etag", "accept-ranges", "cache-control"] {
        assert_eq!(header(&head, name), header(&whole, name), "{name}");
        assert!(!header(&head, name).is_empty(), "{name}");
    }
    let nobody = server.send(Method::HEAD, &path, None, &[], Bytes::new()).await;
    assert_eq!((nobody.status, nobody.bytes.len()), (401, 0));
}
