//! `GET /media/download/{media_id}`.

use http::Method;
use plexus_testkit::{Peer, TestServer};

use crate::client::media::GIF;

#[tokio::test(flavor = "multi_thread")]
async fn another_server_downloads_what_was_uploaded_here() {
    let server = TestServer::sqlite().await;
    let peer = Peer::start().await;
    let alice = server.register("alice").await;
    let upload = "/_matrix/media/v3/upload?filename=red.gif";
    let headers = [("Content-Type", "image/gif")];
    let uploaded = server.send(Method::POST, upload, Some(&alice.token), &headers, GIF.into()).await;
    let uri = uploaded.ok()["content_uri"].as_str().unwrap_or_default();
    let id = uri.strip_prefix("mxc://test.example/").expect("an mxc URI of this server");

    let answer = peer.get(&server, &format!("/_matrix/federation/v1/media/download/{id}")).await;
    let content_type = answer.headers["content-type"].to_str().expect("text").to_owned();
    let boundary = content_type.strip_prefix("multipart/mixed; boundary=").expect("multipart");
    let mut whole = format!(
        "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\nContent-Type: image/gif\r\n\
         Content-Disposition: inline; filename=red.gif\r\n\r\n"
    )
    .into_bytes();
    whole.extend_from_slice(GIF);
    whole.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert_eq!((answer.status, answer.bytes.as_ref()), (200, &*whole));
    assert_eq!(answer.headers["content-length"], whole.len().to_string().as_str());

    let path = format!("/_matrix/federation/v1/media/thumbnail/{id}?width=32&height=32");
    let thumbnail = peer.get(&server, &path).await;
    assert_eq!(thumbnail.status, 200);
    assert!(thumbnail.bytes.windows(4).any(|window| window == b"\x89PNG"));
    let unknown = peer.get(&server, "/_matrix/federation/v1/media/download/AAAAAAAA").await;
    assert_eq!(unknown.refusal(), (404, "M_NOT_FOUND"));
}
