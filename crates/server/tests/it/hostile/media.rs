//! Media without end: from other servers, and from users.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use plexus_base::Clock;
use plexus_testkit::{Answer, Peer, TestServer, TestUser, places};
use serde_json::json;

use crate::client::media::GIF;

const MULTIPART: [(&str, &str); 1] = [("content-type", "multipart/mixed; boundary=x")];
const HEAD: &str = "--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x\r\nContent-Type: image/gif\r\n\r\n";

/// How much of the endless file was sent, in pieces of 1 KiB.
type Sent = Arc<AtomicUsize>;

/// A server that sends 5,000 bytes for every id, but for `endless...`, `slow...`, `long...` (which says that it is long
/// and then sends nothing) and `dead...`.
async fn sender(sent: Sent) -> Peer {
    let download = async move |Path(id): Path<String>| -> Response {
        let head = stream::iter([Ok::<_, std::io::Error>(Bytes::from(HEAD))]);
        let kind = id.trim_end_matches(|last: char| last.is_ascii_digit());
        match kind {
            "endless" => {
                let sent = Arc::clone(&sent);
                let endless = stream::repeat_with(move || {
                    sent.fetch_add(1, Ordering::SeqCst);
                    Ok(Bytes::from(vec![b'x'; 1024]))
                });
                (MULTIPART, Body::from_stream(head.chain(endless))).into_response()
            }
            "slow" => (MULTIPART, Body::from_stream(head.chain(stream::pending()))).into_response(),
            "long" => {
                let headers = [("content-length", "50000"), ("content-type", "multipart/mixed; boundary=x")];
                (headers, Body::from_stream(head.chain(stream::pending()))).into_response()
            }
            "dead" => (StatusCode::NOT_FOUND, r#"{"errcode":"M_NOT_FOUND","error":""}"#).into_response(),
            "picture" => (MULTIPART, [HEAD.as_bytes(), GIF, b"\r\n--x--"].concat()).into_response(),
            _ => (MULTIPART, [HEAD.as_bytes(), &[b'x'; 5000], b"\r\n--x--"].concat()).into_response(),
        }
    };
    Peer::answering(|_| Router::new().route("/_matrix/federation/v1/media/download/{id}", get(download))).await
}

async fn download(server: &TestServer, peer: &Peer, id: &str, user: &TestUser) -> Answer {
    server.get(&format!("/_matrix/client/v1/media/download/{}/{id}", peer.name()), &user.token).await
}

fn asked(peer: &Peer, id: &str) -> usize {
    let wanted = format!("/media/download/{id}?");
    peer.received().iter().filter(|request| request.uri.contains(&wanted)).count()
}

async fn upload(server: &TestServer, user: &TestUser, bytes: Vec<u8>) -> Answer {
    let headers = [("Content-Type", "image/gif")];
    server.send(Method::POST, "/_matrix/media/v3/upload", Some(&user.token), &headers, bytes.into()).await
}

/// The files in the media store of `server`, with those of unfinished uploads.
fn files(server: &TestServer) -> usize {
    fn count(folder: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(folder).expect("the folder is readable");
        let count_entry = |path: std::path::PathBuf| if path.is_dir() { count(&path) } else { 1 };
        entries.map(|entry| count_entry(entry.expect("readable").path())).sum()
    }
    count(&server.config().media.media_store_path)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_file_ends_at_the_largest_size() {
    for place in places() {
        let server = TestServer::on(place).config("max_upload_size: 4M").start().await;
        let (sent, alice) = (Sent::default(), server.register("alice").await);
        let peer = sender(Arc::clone(&sent)).await;
        assert_eq!(download(&server, &peer, "endless", &alice).await.refusal(), (502, "M_TOO_LARGE"));
        // What was under way in buffers when the connection was closed.
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < 32 * 1024, "{sent} KiB were sent");
        assert_eq!(files(&server), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_arrives_is_given_up() {
    for place in places() {
        let server = TestServer::on(place).clock(Clock::manual(1_800_000_000_000)).start().await;
        let (peer, alice) = (sender(Sent::default()).await, server.register("alice").await);
        let give_up = async {
            peer.receives(|request| request.uri.contains("/media/download/slow")).await;
            server.clock().advance(Duration::from_secs(300));
        };
        let (answer, ()) = tokio::join!(download(&server, &peer, "slow", &alice), give_up);
        assert_eq!(answer.refusal(), (502, "M_UNKNOWN"));
        // A file that was just being made is deleted a moment later.
        let gone = async {
            while files(&server) > 0 {
                tokio::task::yield_now().await;
            }
        };
        plexus_testkit::within(super::BOUND, gone).await.expect("nothing is left of it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_downloader_has_a_budget() {
    const BUDGET: &str = "remote_media_download_burst_count: 12K\nremote_media_download_per_second: 1K\n\
                          enable_authenticated_media: false\n";
    for place in places() {
        let clock = Clock::manual(1_800_000_000_000);
        let server = TestServer::on(place).config(BUDGET).clock(clock).start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let peer = sender(Sent::default()).await;
        // At the same time: no more get through than one after another.
        let ids: Vec<String> = (0..8).map(|number| format!("file{number}")).collect();
        let answers = ids.iter().map(|id| download(&server, &peer, id, &alice));
        let answers = futures_util::future::join_all(answers).await;
        let fetched = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(fetched, 2, "{answers:#?}");
        for refused in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(refused.refusal(), (429, "M_LIMIT_EXCEEDED"));
            assert!(
                refused.body["retry_after_ms"].as_u64().is_some_and(|wait| (1..6_000).contains(&wait)),
                "{refused:?}"
            );
        }
        // Neither another user of the same address, nor without a token.
        let (limited, at) = ((429, "M_LIMIT_EXCEEDED"), format!("{}/fresh", peer.name()));
        assert_eq!(download(&server, &peer, "fresh", &bob).await.refusal(), limited);
        let old = server.request(Method::GET, &format!("/_matrix/media/v3/download/{at}"), None, None).await;
        assert_eq!(old.refusal(), limited);
        let thumbnail = format!("/_matrix/client/v1/media/thumbnail/{at}?width=32&height=32");
        assert_eq!(server.get(&thumbnail, &bob.token).await.refusal(), limited);
        assert_eq!(asked(&peer, "fresh"), 0);

        // What is here already costs nothing.
        let here = ids.iter().zip(&answers).find(|(_, answer)| answer.status == 200).expect("two were fetched").0;
        assert_eq!(download(&server, &peer, here, &bob).await.bytes.len(), 5000);
        server.clock().advance(Duration::from_secs(6));
        download(&server, &peer, "fresh", &bob).await.ok();
        // Not even begun: it says how long it is.
        assert_eq!(download(&server, &peer, "long", &bob).await.refusal(), limited);
        server.clock().advance(Duration::from_secs(6));
        assert_eq!(download(&server, &peer, "long", &bob).await.refusal(), limited);
        // Cut off where the budget ends, and not remembered as a failure.
        assert_eq!(download(&server, &peer, "endless", &bob).await.refusal(), limited);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_link_is_not_asked_for_at_each_view() {
    for place in places() {
        let server = TestServer::on(place).clock(Clock::manual(1_800_000_000_000)).start().await;
        let (peer, alice) = (sender(Sent::default()).await, server.register("alice").await);
        for _ in 0..5 {
            assert_eq!(download(&server, &peer, "dead", &alice).await.refusal(), (404, "M_NOT_FOUND"));
        }
        assert_eq!(asked(&peer, "dead"), 1);
        server.clock().advance(Duration::from_secs(300));
        assert_eq!(download(&server, &peer, "dead", &alice).await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(asked(&peer, "dead"), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_fetches_are_under_way_at_once() {
    for place in places() {
        let server = TestServer::on(place).start().await;
        let peer = sender(Sent::default()).await;
        let alice = server.register("alice").await;
        // As many as one user may wait for, and one more.
        let ids: Vec<String> = (0..=128).map(|number| format!("slow{number}")).collect();
        let waiting: Vec<_> = ids
            .iter()
            .map(|id| {
                let path = format!("/_matrix/client/v1/media/download/{}/{id}", peer.name());
                let (client, token) = ((*server).clone(), alice.token.clone());
                tokio::spawn(async move { client.get(&path, &token).await })
            })
            .collect();
        let (first, _, others) = futures_util::future::select_all(waiting).await;
        assert_eq!(first.expect("the client goes on").refusal(), (429, "M_LIMIT_EXCEEDED"));
        for other in &others {
            other.abort();
        }
        let asked = peer.received().iter().filter(|request| request.uri.contains("/media/download/slow")).count();
        assert!(asked <= 6, "{asked} at once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_the_disk_is_left_free() {
    for place in places() {
        let mut server = TestServer::on(place).config("admin_contact: 'mailto:root@test.example'").start().await;
        let (peer, alice) = (sender(Sent::default()).await, server.register("alice").await);
        let uploaded = upload(&server, &alice, GIF.to_vec()).await;
        let uri = uploaded.ok()["content_uri"].as_str().unwrap_or_default().to_owned();
        server.config_mut().media.media_min_free_space = u64::MAX;
        server.restart().await;

        let full = (507, "M_RESOURCE_LIMIT_EXCEEDED");
        let before = files(&server);
        let refused = upload(&server, &alice, GIF.to_vec()).await;
        assert_eq!(refused.refusal(), full);
        assert_eq!(refused.body["admin_contact"], "mailto:root@test.example");
        let created = server.post("/_matrix/media/v1/create", &alice.token, json!({})).await;
        let place =
            created.ok()["content_uri"].as_str().unwrap_or_default().replace("mxc://", "/_matrix/media/v3/upload/");
        assert_eq!(server.put(&place, &alice.token, json!({})).await.refusal(), full);
        assert_eq!(download(&server, &peer, "file", &alice).await.refusal(), full);
        let place = uri.strip_prefix("mxc://").expect("an mxc URI");
        let thumbnail = format!("/_matrix/client/v1/media/thumbnail/{place}?width=32&height=32");
        assert_eq!(server.get(&thumbnail, &alice.token).await.refusal(), full);
        assert_eq!(files(&server), before);
        // What is there is served.
        let content = server.get(&format!("/_matrix/client/v1/media/download/{place}"), &alice.token).await;
        assert_eq!((content.status, &*content.bytes), (200, GIF));

        server.config_mut().media.media_min_free_space = 0;
        server.restart().await;
        download(&server, &peer, "file", &alice).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_at_the_same_time_do_not_pass_the_users_limit() {
    const LIMITS: &str = "media_upload_limits: [{time_period: 1h, max_size: 10K}, \
                          {time_period: 1d, max_size: 15K, info_uri: 'https://test.example/more', can_upgrade: true}]";
    for place in places() {
        let clock = Clock::manual(1_800_000_000_000);
        let server = TestServer::on(place).config(LIMITS).clock(clock).start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let announced = server.post("/_matrix/media/v1/create", &alice.token, json!({})).await;
        let announced = announced.ok()["content_uri"].as_str().unwrap_or_default().to_owned();
        // An upload announced in another hour counts for that in which it is made.
        server.clock().advance(Duration::from_secs(2 * 3600));
        let fill = announced.replace("mxc://", "/_matrix/media/v3/upload/");
        let filled = server.send(Method::PUT, &fill, Some(&alice.token), &[], vec![b'x'; 4096].into()).await;
        filled.ok();

        let answers = (0..8).map(|_| upload(&server, &alice, vec![b'x'; 3000]));
        let answers = futures_util::future::join_all(answers).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 2, "{answers:#?}");
        for refused in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
        }
        assert_eq!(files(&server), 3);
        upload(&server, &bob, vec![b'x'; 3000]).await.ok();

        server.clock().advance(Duration::from_secs(3600));
        upload(&server, &alice, vec![b'x'; 3000]).await.ok();
        let refused = upload(&server, &alice, vec![b'x'; 3000]).await;
        assert_eq!(refused.refusal(), (403, "M_USER_LIMIT_EXCEEDED"));
        assert_eq!(refused.body["info_uri"], "https://test.example/more");
        assert_eq!(refused.body["can_upgrade"], true);
        // Without a word about its length it is refused in the end, and not kept.
        let created = server.post("/_matrix/media/v1/create", &alice.token, json!({})).await;
        let fill =
            created.ok()["content_uri"].as_str().unwrap_or_default().replace("mxc://", "/_matrix/media/v3/upload/");
        let before = files(&server);
        let refused = server.send(Method::PUT, &fill, Some(&alice.token), &[], vec![b'x'; 3000].into()).await;
        assert_eq!(refused.refusal(), (403, "M_USER_LIMIT_EXCEEDED"));
        assert_eq!(files(&server), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_image_has_few_thumbnails() {
    for place in places() {
        let server = TestServer::on(place).config("dynamic_thumbnails: true").start().await;
        let (peer, alice) = (sender(Sent::default()).await, server.register("alice").await);
        for size in 1..=60 {
            let path = format!("/_matrix/client/v1/media/thumbnail/{}/picture?width={size}&height=9", peer.name());
            let answer = server.get(&path, &alice.token).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let files = files(&server);
        // The image, 32 in sizes that were chosen, and those that are configured.
        assert!(files <= 1 + 32 + 5, "{files} files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_holds_up_no_other() {
    for place in places() {
        let server = TestServer::on(place).start().await;
        let (slow, other) = (sender(Sent::default()).await, sender(Sent::default()).await);
        let alice = server.register("alice").await;
        let waiting = (0..30).map(|number| {
            let path = format!("/_matrix/client/v1/media/download/{}/slow{number}", slow.name());
            let (client, token) = ((*server).clone(), alice.token.clone());
            tokio::spawn(async move { client.get(&path, &token).await })
        });
        let waiting: Vec<_> = waiting.collect();
        slow.receives(|request| request.uri.contains("/media/download/slow")).await;
        download(&server, &other, "file", &alice).await.ok();
        for waiting in waiting {
            waiting.abort();
        }
    }
}
