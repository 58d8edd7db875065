//! Parts of thumbnails, and their headers alone.

use axum::body::Bytes;
use http::Method;
use plexus_testkit::server::TestServer;

use crate::client::media::{GIF, place, upload};

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_thumbnails_are_served() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let place = place(&upload(&server, &alice, "", "image/gif", GIF).await);
    let path = format!("/_matrix/client/v1/media/thumbnail/{place}?width=32&height=32");
    let whole = server.get(&path, &alice.token).await;
    assert_eq!(whole.status, 200);
    let (token, range) = (Some(alice.token.as_str()), [("Range", "bytes=1-3")]);
    let part = server.send(Method::GET, &path, token, &range, Bytes::new()).await;
    assert_eq!((part.status, &*part.bytes), (206, &b"PNG"[..]));
    assert_eq!(part.headers["content-range"], format!("bytes 1-3/{}", whole.bytes.len()));
    let head = server.send(Method::HEAD, &path, token, &[], Bytes::new()).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    assert_eq!(head.headers["content-length"], whole.bytes.len().to_string());
    assert_eq!(head.headers["content-type"], "image/png");
}
