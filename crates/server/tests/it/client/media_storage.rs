//! Where media is kept, and for how long: storage providers and `media_retention`.

mod kill;

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use http::Method;
use plexus_base::Clock;
use plexus_testkit::s3::S3Server;
use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{Peer, every, places, within};
use serde_json::{Value, json};

use crate::client::media::{GIF, place};
use crate::client::{create, room_path};

const START_MS: u64 = 1_796_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// More than is sent to an S3 server in one request.
const FILM_BYTES: usize = 9 * 1024 * 1024;

async fn upload(server: &TestServer, user: &TestUser, content_type: &str, bytes: Bytes) -> String {
    let headers = [("Content-Type", content_type)];
    place(&server.send(Method::POST, "/_matrix/media/v3/upload", Some(&user.token), &headers, bytes).await)
}

fn download(place: &str) -> String {
    format!("/_matrix/client/v1/media/download/{place}")
}

/// The number of files of media in a folder, and in those below it.
fn files(folder: &FilePath) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let entries = entries.filter_map(|entry| Some(entry.ok()?.path()));
    entries
        .filter(|path| !path.ends_with(".plexus-storage"))
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

fn temporary_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("plexus-media-{}", plexus_testkit::unique_name()));
    std::fs::create_dir_all(&folder).expect("made");
    folder
}

/// Waits until `is_true`.
async fn until(what: &str, is_true: impl Fn() -> bool) {
    let wait = async {
        let mut looks = every(Duration::from_millis(50));
        while !is_true() {
            looks.tick().await;
        }
    };
    assert!(within(PATIENCE, wait).await.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_server_keeps_copies_until_the_media_expires() {
    let Some(s3) = S3Server::start().await else { return };
    for (number, place) in places().into_iter().enumerate() {
        let prefix = format!("plexus {number}/");
        let config = format!(
            "media_storage_providers: [{}]\nmedia_retention: {{local_media_lifetime: 30d}}",
            s3.provider(&prefix, "store_local: true, store_synchronous: true")
        );
        let server = TestServer::on(place).config(&config).clock(Clock::manual(START_MS)).start().await;
        let alice = server.register("alice").await;
        let film: Bytes = (0..FILM_BYTES).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<u8>>().into();
        let image = upload(&server, &alice, "image/gif", Bytes::from_static(GIF)).await;
        let empty = upload(&server, &alice, "text/plain", Bytes::new()).await;
        let film_place = upload(&server, &alice, "video/mp4", film.clone()).await;
        // Each upload has waited for it.
        let objects = s3.objects();
        assert_eq!(objects.len(), 3, "{objects:?}");
        let film_object = format!("{FILM_BYTES} STANDARD_IA {prefix}local_content/");
        assert!(objects.iter().any(|object| object.starts_with(&film_object)), "{objects:?}");

        // What is gone from the folder comes back.
        let folder = server.config().media.media_store_path.clone();
        std::fs::remove_dir_all(folder.join("local_content")).expect("deleted");
        let whole = server.get(&download(&film_place), &alice.token).await;
        assert!(whole.status == 200 && whole.bytes == film);
        let thumbnail = format!("/_matrix/client/v1/media/thumbnail/{image}?width=32&height=32");
        assert_eq!(server.get(&thumbnail, &alice.token).await.status, 200);
        assert_eq!(server.get(&download(&empty), &alice.token).await.bytes.len(), 0);

        // A thumbnail that Synapse has stored there goes with its image.
        let id = image.rsplit_once('/').expect("a place").1;
        let (first, rest) = id.split_at(2);
        let (second, rest) = rest.split_at(2);
        s3.put(&format!("{prefix}local_thumbnails/{first}/{second}/{rest}/32-32-image-png-crop"));
        assert_eq!(s3.objects().len(), 4);
        server.clock().advance(31 * DAY);
        until("all objects are deleted", || s3.objects().is_empty()).await;
        until("all files are deleted", || files(&folder.join("local_content")) == 0).await;
        until("all thumbnails are deleted", || files(&folder.join("local_thumbnails")) == 0).await;
        assert_eq!(server.get(&download(&image), &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_read_without_the_whole() {
    let Some(s3) = S3Server::start().await else { return };
    let copies = temporary_folder();
    let in_folder = format!(
        "{{module: file_system, store_local: true, store_synchronous: true, config: {{directory: '{}'}}}}",
        copies.display()
    );
    for provider in [s3.provider("parts/", "store_local: true, store_synchronous: true"), in_folder] {
        for place in places() {
            let config = format!("media_storage_providers: [{provider}]");
            let server = TestServer::on(place).config(&config).clock(Clock::manual(START_MS)).start().await;
            let alice = server.register("alice").await;
            let film: Bytes = (0..FILM_BYTES).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<u8>>().into();
            let path = download(&upload(&server, &alice, "video/mp4", film.clone()).await);
            let store = server.config().media.media_store_path.clone();
            std::fs::remove_dir_all(store.join("local_content")).expect("deleted");
            let last = FILM_BYTES - 1;
            for (range, first, last) in [
                ("bytes=0-0", 0, 0),
                ("bytes=1000000-6500000", 1_000_000, 6_500_000),
                ("bytes=-7", FILM_BYTES - 7, last),
                ("bytes=1-", 1, last),
            ] {
                let part = server.send(Method::GET, &path, Some(&alice.token), &[("Range", range)], Bytes::new()).await;
                assert_eq!((part.status, part.bytes.len()), (206, last - first + 1), "{range}");
                assert!(part.bytes == film[first..=last], "{range}");
            }
            assert_eq!(files(&store.join("local_content")) + files(&store.join("incoming")), 0);
            // All of it is a part that is brought back.
            let range = [("Range", "bytes=0-")];
            let whole = server.send(Method::GET, &path, Some(&alice.token), &range, Bytes::new()).await;
            assert!(whole.status == 206 && whole.bytes == film);
            assert_eq!(files(&store.join("local_content")), 1);
        }
    }
    let _ = std::fs::remove_dir_all(copies);
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_are_deleted_at_the_start() {
    let Some(s3) = S3Server::start().await else { return };
    for (number, place) in places().into_iter().enumerate() {
        let prefix = format!("unfinished{number}/");
        let (own, foreign) = (format!("{prefix}local_content/Ab/Cd/efgh"), format!("{prefix}backups/local_content/x"));
        let provider = s3.provider(&prefix, "store_local: true");
        s3.begin_parts(&own);
        s3.begin_parts(&format!("{prefix}remote_content/a.example/Ab/Cd/efgh"));
        s3.begin_parts(&foreign);
        let config = format!("media_storage_providers: [{provider}]");
        let _server = TestServer::on(place).config(&config).start().await;
        until("only what others store is left", || {
            let left: Vec<String> = s3.unfinished().into_iter().filter(|key| key.starts_with(&prefix)).collect();
            left == [foreign.as_str()]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn avatars_stay() {
    for place in places() {
        let config = "media_retention: {local_media_lifetime: 30d}";
        let server = TestServer::on(place).config(config).clock(Clock::manual(START_MS)).start().await;
        let alice = server.register("alice").await;
        let room = create(&server, &alice, json!({})).await;
        let mut images = Vec::new();
        for content_type in ["image/gif", "image/png", "image/jpeg", "image/webp"] {
            images.push(upload(&server, &alice, content_type, Bytes::from_static(GIF)).await);
        }
        let [of_room, of_user, earlier, unused] = images.as_slice() else { panic!("four images") };
        let set = async |event_type: &str, content: Value| {
            server.put(&room_path(&room, &format!("state/{event_type}")), &alice.token, content).await.ok();
        };
        let uri = |place: &str| format!("mxc://{place}");
        set("m.room.avatar/", json!({ "url": uri(earlier) })).await;
        set("m.room.avatar/", json!({ "url": uri(of_room) })).await;
        let profile = format!("/_matrix/client/v3/profile/{}/avatar_url", alice.id);
        server.put(&profile, &alice.token, json!({ "avatar_url": uri(of_user) })).await.ok();
        let folder = server.config().media.media_store_path.join("local_content");
        for _ in 0..2 {
            server.clock().advance(31 * DAY);
            until("what nobody uses is deleted", || files(&folder) == 2).await;
        }
        for (place, status) in [(of_room, 200), (of_user, 200), (earlier, 404), (unused, 404)] {
            assert_eq!(server.get(&download(place), &alice.token).await.status, status, "{place}");
        }
        // Another avatar takes its place.
        let image = upload(&server, &alice, "image/gif", Bytes::from_static(GIF)).await;
        set("m.room.avatar/", json!({ "url": uri(&image) })).await;
        server.clock().advance(31 * DAY);
        until("what was the avatar is deleted", || files(&folder) == 2).await;
        for (place, status) in [(of_room, 404), (&image, 200)] {
            assert_eq!(server.get(&download(place), &alice.token).await.status, status, "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_was_down_at_a_restart_gets_its_copies() {
    for place in places() {
        let folder = temporary_folder();
        let (up, down) = (folder.join("up"), folder.join("down"));
        std::fs::write(&down, b"").expect("written");
        let config = format!(
            "media_storage_providers: [{{module: file_system, store_local: true, store_synchronous: true, config: \
             {{directory: '{}'}}}}]",
            down.display()
        );
        let mut server = TestServer::on(place).config(&config).clock(Clock::manual(START_MS)).start().await;
        let alice = server.register("alice").await;
        let image = upload(&server, &alice, "image/gif", Bytes::from_static(GIF)).await;
        server.restart().await;
        std::fs::remove_file(&down).expect("deleted");
        std::fs::create_dir(&down).expect("made");
        server.clock().advance(Duration::from_secs(120));
        until("the copy is there", || files(&down) == 1).await;

        // Another provider is configured: it gets what is uploaded from now on, without anybody waiting for it.
        server.config_mut().media.media_storage_providers.clear();
        server.config_mut().media.backup_media_store_path = Some(up.clone());
        server.restart().await;
        let film = upload(&server, &alice, "video/mp4", Bytes::from_static(b"film")).await;
        until("the second copy is there", || files(&up) == 1).await;
        let store = server.config().media.media_store_path.clone();
        std::fs::remove_dir_all(store.join("local_content")).expect("deleted");
        assert_eq!(server.get(&download(&film), &alice.token).await.status, 200);
        // Only the first provider has this one.
        assert_eq!(server.get(&download(&image), &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        // Copies may still be under way.
        let _ = std::fs::remove_dir_all(folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_need_no_copy_from_a_provider() {
    for place in places() {
        let folder = temporary_folder();
        let config = format!("backup_media_store_path: '{}'", folder.display());
        let server = TestServer::on(place).config(&config).start().await;
        let alice = server.register("alice").await;
        let image = download(&upload(&server, &alice, "image/gif", Bytes::from_static(GIF)).await);
        let tag = server.get(&image, &alice.token).await.headers["etag"].to_str().unwrap().to_owned();
        until("the copy is there", || files(&folder) == 1).await;
        let store = server.config().media.media_store_path.join("local_content");
        std::fs::remove_dir_all(&store).expect("deleted");

        let get = async |method: Method, known: &str| {
            server.send(method, &image, Some(&alice.token), &[("If-None-Match", known)], Bytes::new()).await
        };
        assert_eq!(get(Method::GET, &tag).await.status, 304);
        let head = get(Method::HEAD, "\"another\"").await;
        assert_eq!((head.status, head.headers["content-type"].to_str().unwrap()), (200, "image/gif"));
        assert_eq!(head.headers["content-length"].to_str().unwrap(), GIF.len().to_string());
        assert_eq!(files(&store), 0);
        assert_eq!(get(Method::GET, "\"another\"").await.bytes, GIF);
        assert_eq!(files(&store), 1);
        // Copies may still be under way.
        let _ = std::fs::remove_dir_all(folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_other_servers_media_expire_and_are_fetched_again() {
    for place in places() {
        let folder = temporary_folder();
        let config =
            format!("media_retention: {{remote_media_lifetime: 14d}}\nbackup_media_store_path: '{}'", folder.display());
        let server = TestServer::on(place).config(&config).clock(Clock::manual(START_MS)).start().await;
        let alice = server.register("alice").await;
        let local = upload(&server, &alice, "image/gif", Bytes::from_static(GIF)).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let content = async move |Path(_): Path<String>| {
            count.fetch_add(1, Ordering::SeqCst);
            let headers = [("content-type", "multipart/mixed; boundary=x")];
            let head = b"--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x\r\nContent-Type: image/gif\r\n\r\n";
            (headers, [head, GIF, b"\r\n--x--"].concat())
        };
        let path = "/_matrix/federation/v1/media/download/{id}";
        let peer = Peer::answering(|_| Router::new().route(path, get(content))).await;
        let remote = format!("{}/picture", peer.name());
        let thumbnail = format!("/_matrix/client/v1/media/thumbnail/{remote}?width=32&height=32");
        let store = server.config().media.media_store_path.clone();

        assert_eq!(server.get(&download(&remote), &alice.token).await.bytes, GIF);
        assert_eq!(server.get(&thumbnail, &alice.token).await.status, 200);
        until("there are copies of both", || files(&folder) == 2).await;
        // Requested within its lifetime, it stays.
        server.clock().advance(10 * DAY);
        assert_eq!(server.get(&thumbnail, &alice.token).await.status, 200);
        server.clock().advance(10 * DAY);
        assert_eq!(server.get(&download(&remote), &alice.token).await.status, 200);
        assert_eq!(asked.load(Ordering::SeqCst), 1);

        server.clock().advance(15 * DAY);
        until("the copy is deleted", || files(&store.join("remote_content")) == 0).await;
        until("its thumbnail is deleted", || files(&store.join("remote_thumbnail")) == 0).await;
        until("the copy in the other storage is deleted", || files(&folder) == 1).await;
        assert_eq!(server.get(&download(&local), &alice.token).await.bytes, GIF);
        assert_eq!(server.get(&download(&remote), &alice.token).await.bytes, GIF);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // Copies may still be under way.
        let _ = std::fs::remove_dir_all(folder);
    }
}
