//! Media of other servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use plexus_testkit::{Peer, TestPlace, TestServer};
use serde_json::json;
use tokio::sync::Notify;

use crate::client::media::GIF;

/// A multipart answer with this second part.
fn multipart(second: &[u8]) -> Response {
    let mut body = b"--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x\r\n".to_vec();
    body.extend_from_slice(second);
    body.extend_from_slice(b"\r\n--x--");
    ([("content-type", "multipart/mixed; boundary=x")], body).into_response()
}

fn gif() -> Vec<u8> {
    [&b"Content-Type: image/gif\r\nContent-Disposition: inline; filename=red.gif\r\n\r\n"[..], GIF].concat()
}

/// Media of a modern server: `picture`, `slow`, `elsewhere`, `large`, `broken`.
async fn modern(asked: Arc<AtomicUsize>, go: Arc<Notify>) -> Peer {
    Peer::answering(|name| {
        let place = format!("https://{name}/somewhere/else");
        let download = async move |Path(id): Path<String>| {
            asked.fetch_add(1, Ordering::SeqCst);
            match id.as_str() {
                "picture" => multipart(&gif()),
                "slow" => {
                    go.notified().await;
                    multipart(&gif())
                }
                "elsewhere" => multipart(format!("Location: {place}\r\n\r\n").as_bytes()),
                "large" => multipart(&[&b"Content-Type: text/plain\r\n\r\n"[..], &[b'x'; 5000]].concat()),
                "broken" => ([("content-type", "multipart/mixed; boundary=x")], "--x\r\n\r\n{}").into_response(),
                "late" => (StatusCode::GATEWAY_TIMEOUT, r#"{"errcode":"M_NOT_YET_UPLOADED"}"#).into_response(),
                _ => (StatusCode::NOT_FOUND, r#"{"errcode":"M_NOT_FOUND"}"#).into_response(),
            }
        };
        Router::new()
            .route("/_matrix/federation/v1/media/download/{id}", get(download))
            .route("/somewhere/else", get(async || ([("content-type", "image/gif")], GIF)))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn media_of_another_server_is_fetched_once_and_kept() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config("max_upload_size: 4K").start().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let peer = modern(Arc::clone(&asked), Arc::default()).await;
        let alice = server.register("alice").await;
        let download = async |id: &str| {
            server.get(&format!("/_matrix/client/v1/media/download/{}/{id}", peer.name()), &alice.token).await
        };
        let not_fetched = download("picture?allow_remote=false").await;
        assert_eq!((not_fetched.refusal(), asked.load(Ordering::SeqCst)), ((404, "M_NOT_FOUND"), 0));
        for _ in 0..2 {
            let answer = download("picture").await;
            assert_eq!((answer.status, &*answer.bytes), (200, GIF));
            assert_eq!(answer.headers["content-type"], "image/gif");
            assert_eq!(answer.headers["content-disposition"], "inline; filename=red.gif");
        }
        assert_eq!(download("picture?allow_remote=false").await.bytes, GIF);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let request = peer.receives(|request| request.uri.contains("/media/download/")).await;
        assert!(request.headers["authorization"].to_str().is_ok_and(|value| value.starts_with("X-Matrix ")));

        let path = format!("/_matrix/client/v1/media/thumbnail/{}/picture?width=32&height=32", peer.name());
        let thumbnail = server.get(&path, &alice.token).await;
        assert!(thumbnail.bytes.starts_with(b"\x89PNG"), "{thumbnail:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);

        assert_eq!(download("elsewhere").await.bytes, GIF);
        assert_eq!(download("large").await.refusal(), (502, "M_TOO_LARGE"));
        assert_eq!(download("broken").await.refusal(), (502, "M_UNKNOWN"));
        assert_eq!(download("late").await.refusal(), (504, "M_NOT_YET_UPLOADED"));
        assert_eq!(download("nothing").await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(download("%2e%2e%2fpicture").await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_the_same_media_wait_for_one_fetch() {
    for server in TestServer::on_each().await {
        let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let peer = modern(Arc::clone(&asked), Arc::clone(&go)).await;
        let alice = server.register("alice").await;
        let path = format!("/_matrix/client/v1/media/download/{}/slow", peer.name());
        let release = async {
            peer.receives(|request| request.uri.contains("/media/download/slow")).await;
            go.notify_one();
        };
        let (first, second, ()) =
            tokio::join!(server.get(&path, &alice.token), server.get(&path, &alice.token), release);
        assert_eq!((&*first.bytes, &*second.bytes, asked.load(Ordering::SeqCst)), (GIF, GIF, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_servers_are_asked_at_the_old_place() {
    let legacy = async |Path((_, id)): Path<(String, String)>| match id.as_str() {
        "picture" => {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "image/gif".parse().expect("a header"));
            headers.insert("content-disposition", "inline; filename*=utf-8''caf%C3%A9.gif".parse().expect("a header"));
            (headers, GIF).into_response()
        }
        _ => (StatusCode::NOT_FOUND, r#"{"errcode":"M_NOT_FOUND"}"#).into_response(),
    };
    let peer = Peer::answering(|_| Router::new().route("/_matrix/media/v3/download/{server}/{id}", get(legacy))).await;
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let download = async |server: &TestServer, token: &str, id: &str| {
        server.get(&format!("/_matrix/client/v1/media/download/{}/{id}", peer.name()), token).await
    };
    let answer = download(&server, &alice.token, "picture").await;
    assert_eq!((answer.status, &*answer.bytes), (200, GIF));
    assert_eq!(answer.headers["content-disposition"], "inline; filename*=utf-8''caf%C3%A9.gif");
    let asked = peer.receives(|request| request.uri.contains("/_matrix/media/v3/")).await;
    assert!(asked.uri.contains("allow_remote=false"), "{}", asked.uri);
    assert_eq!(download(&server, &alice.token, "nothing").await.refusal(), (404, "M_NOT_FOUND"));

    let config = json!({ "prevent_media_downloads_from": [peer.name().as_str()] }).to_string();
    let careful = TestServer::on(TestPlace::sqlite()).config(&config).start().await;
    let alice = careful.register("alice").await;
    let before = peer.received().len();
    assert_eq!(download(&careful, &alice.token, "picture").await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(peer.received().len(), before);
}
