//! `GET /preview_url`, of pages on servers of this machine.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use plexus_base::Clock;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{every, places, within};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::client::media::{GIF, upload};

const START_MS: u64 = 1_796_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const CONFIG: &str = "url_preview_enabled: true\nurl_preview_ip_range_blacklist: ['10.0.0.0/8', '::1/128', \
                      '192.168.0.0/16', '127.0.0.2']\n\
                      url_preview_url_blacklist: [{path: '/secret*'}, {username: '*'}]\n\
                      url_preview_accept_language: ['fr', 'en;q=0.5']\nmax_spider_size: 64K\n";
const PAGE: &str = "<html><head><meta property=og:title content='A page'>\
                    <meta property=og:image content='/i.gif'></head><body>Text</body></html>";

/// A web site that says what each test wants; counts requests.
pub(crate) struct Site {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Site {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let respond = async move |request: Request| {
            count.fetch_add(1, Ordering::SeqCst);
            page(address, &request)
        };
        let router = Router::new().fallback(respond);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, requests, serving }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn html(text: impl Into<Body>) -> Response {
    ([("content-type", "text/html")], text.into()).into_response()
}

fn json_text(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

fn redirect(to: &str) -> Response {
    (StatusCode::FOUND, [("location", to)]).into_response()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn page(address: SocketAddr, request: &Request) -> Response {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let endless = || {
        Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 4096]))))
    };
    match request.uri().path() {
        "/" => html(PAGE),
        "/asked" => html(format!(
            "<title>{} {} {}</title>",
            header("user-agent"),
            header("accept-language"),
            header("authorization")
        )),
        "/i.gif" => {
            ([("content-type", "image/gif"), ("content-disposition", "inline; filename=red.gif")], GIF).into_response()
        }
        "/film" => ([("content-type", "video/mp4")], endless()).into_response(),
        "/gzip" => {
            ([("content-type", "text/html"), ("content-encoding", "gzip")], gzip(PAGE.as_bytes())).into_response()
        }
        "/bomb" => {
            ([("content-type", "text/html"), ("content-encoding", "gzip")], gzip(&vec![b'x'; 50 << 20])).into_response()
        }
        "/not-gzip" => ([("content-type", "text/html"), ("content-encoding", "gzip")], "plain").into_response(),
        "/brotli" => ([("content-type", "text/html"), ("content-encoding", "br")], "plain").into_response(),
        "/koi8" => {
            ([("content-type", "text/html; charset=koi8-r")], &b"<title>\xd4\xc5\xd3\xd4</title>"[..]).into_response()
        }
        "/endless" => html(endless()),
        "/long" => ([("content-type", "text/html"), ("content-length", "9999999")], endless()).into_response(),
        "/slow" => html(Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>())),
        "/deep" => html("<div>".repeat(10_000) + "deep" + &"</div>".repeat(1_000)),
        "/attribute" => html(format!("<meta property=og:title content='{}'><title>T</title>", "x".repeat(60_000))),
        "/inline" => {
            html("<img src='data:image/gif;base64,R0lGODdhBAACAIEAAP8AAAAAAAAAAAAAACwAAAAABAACAAAIBwABCBwoMCAAOw=='>")
        }
        "/loop" => redirect("/loop"),
        "/to-page" => redirect(&format!("//{address}/x/../")),
        "/to-secret" => redirect("/secret/page"),
        "/to-nowhere" => StatusCode::FOUND.into_response(),
        "/to-letters" => {
            let to = HeaderValue::from_bytes("/tést".as_bytes()).expect("bytes over 127 are allowed");
            (StatusCode::FOUND, [("location", to)]).into_response()
        }
        "/t%C3%A9st" => html(PAGE),
        "/long-type" => ([("content-type", format!("a/{}", "a".repeat(10_000)))], "").into_response(),
        "/long-image-type" => ([("content-type", format!("image/{}", "a".repeat(10_000)))], GIF).into_response(),
        "/oembed-secret" => html("<link rel=alternate type=application/json+oembed href=/secret.json><title>T</title>"),
        "/to-lan" => redirect("http://10.1.2.3/"),
        "/to-file" => redirect("file:///etc/passwd"),
        "/image-in-lan" => html("<title>T</title><img src=http://10.1.2.3/i.png>"),
        "/image-is-secret" => html("<title>T</title><img src=/secret.png>"),
        "/oembed" => html("<link rel=alternate type=application/json+oembed href=/oembed.json><title></title>"),
        "/oembed.json" => json_text(&json!({
            "version": "1.0", "type": "photo", "url": "i.gif", "author_name": "Somebody", "cache_age": 7200,
        })),
        "/pdf" => ([("content-type", "application/pdf")], "%PDF").into_response(),
        "/json" => json_text(&json!({})),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn path(url: &str) -> String {
    let encoded: String = url.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/_matrix/client/v1/media/preview_url?url={encoded}")
}

async fn preview(server: &TestServer, user: &TestUser, url: &str) -> Answer {
    server.get(&path(url), &user.token).await
}

/// The number of files in a folder and those below it.
fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let entries = entries.filter_map(|entry| Some(entry.ok()?.path()));
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

async fn until(what: &str, is_true: impl AsyncFn() -> bool) {
    let wait = async {
        let mut looks = every(Duration::from_millis(50));
        while !is_true().await {
            looks.tick().await;
        }
    };
    assert!(within(PATIENCE, wait).await.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_previewed_once_with_its_image_until_both_expire() {
    for place in places() {
        let folder = std::env::temp_dir().join(format!("plexus-previews-{}", plexus_testkit::unique_name()));
        let config = format!(
            "{CONFIG}backup_media_store_path: '{}'\nmedia_upload_limits: [{{time_period: 1d, max_size: 1}}]",
            folder.display()
        );
        let mut server = TestServer::on(place).config(&config).clock(Clock::manual(START_MS)).start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let site = Site::start().await;
        let url = site.url("/");
        let (first, second) = tokio::join!(preview(&server, &alice, &url), preview(&server, &bob, &url));
        let tags = first.ok().clone();
        assert_eq!((&tags, site.requests()), (second.ok(), 2));
        assert_eq!((&tags["og:title"], &tags["og:description"]), (&json!("A page"), &json!("Text")));
        assert_eq!((&tags["og:image:width"], &tags["og:image:height"]), (&json!(4), &json!(2)));
        assert_eq!((&tags["og:image:type"], &tags["matrix:image:size"]), (&json!("image/gif"), &json!(GIF.len())));
        let image = tags["og:image"].as_str().expect("an image").strip_prefix("mxc://").expect("an mxc URI").to_owned();
        let download = format!("/_matrix/client/v1/media/download/{image}");
        assert_eq!(server.get(&download, &bob.token).await.bytes, GIF);
        let thumbnail = format!("/_matrix/client/v1/media/thumbnail/{image}?width=32&height=32");
        assert_eq!(server.get(&thumbnail, &bob.token).await.status, 200);
        let store = server.config().media.media_store_path.clone();
        assert_eq!((files(&store.join("url_cache")), files(&store.join("url_cache_thumbnails"))), (1, 1));
        until("the provider has a copy", async || files(&folder.join("url_cache")) == 1).await;

        // The database has it, also for who asks as of an earlier time, as clients do for old messages.
        server.restart().await;
        assert_eq!(preview(&server, &bob, &url).await.ok(), &tags);
        assert_eq!(server.get(&format!("{}&ts=1", path(&url)), &alice.token).await.ok(), &tags);
        assert_eq!(site.requests(), 2);
        // The image is no upload of hers.
        upload(&server, &alice, "", "text/plain", b"x").await.ok();
        server.clock().advance(HOUR + Duration::from_secs(1));
        assert_ne!(preview(&server, &bob, &url).await.ok()["og:image"], tags["og:image"]);
        assert_eq!(site.requests(), 4);

        server.clock().advance(46 * HOUR);
        assert_eq!(server.get(&download, &bob.token).await.bytes, GIF);
        until("all files are deleted", async || {
            server.clock().advance(HOUR);
            let folders = [&store, &folder].map(|folder| files(&folder.join("url_cache")));
            folders == [0, 0] && files(&store.join("url_cache_thumbnails")) == 0
        })
        .await;
        assert_eq!(server.get(&download, &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
        let _ = std::fs::remove_dir_all(folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_of_content_are_understood() {
    for place in places() {
        let server = TestServer::on(place).config(CONFIG).start().await;
        let alice = server.register("alice").await;
        let site = Site::start().await;
        let title = async |path: &str| preview(&server, &alice, &site.url(path)).await.ok()["og:title"].clone();
        let asked = "Plexus (bot; +https://matrix.org/ecosystem/servers/) fr, en;q=0.5";
        assert_eq!(title("/asked").await, asked);
        assert_eq!((title("/gzip").await, title("/koi8").await), (json!("A page"), json!("тест")));
        assert_eq!((title("/to-page").await, title("/to-letters").await), (json!("A page"), json!("A page")));
        // Too long a title is left out, as in Synapse.
        assert_eq!(title("/attribute").await, Value::Null);
        assert_eq!(preview(&server, &alice, &site.url("/deep")).await.ok()["og:description"], "deep");
        let image = preview(&server, &alice, &site.url("/i.gif")).await.ok().clone();
        assert_eq!((&image["og:description"], &image["og:image:width"]), (&json!("red.gif"), &json!(4)));
        let film = preview(&server, &alice, &site.url("/film")).await.ok().clone();
        assert_eq!((&film["og:title"], &film["og:video:type"]), (&json!("film"), &json!("video/mp4")));
        let inline = preview(&server, &alice, &site.url("/inline")).await.ok().clone();
        assert!(inline["og:image"].as_str().is_some_and(|image| image.starts_with("mxc://test.example/")), "{inline}");
        assert_eq!(inline["og:image:height"], 2);
        let described = preview(&server, &alice, &site.url("/oembed")).await.ok().clone();
        assert_eq!((&described["og:title"], &described["og:image:type"]), (&json!("Somebody"), &json!("image/gif")));
        assert_eq!(preview(&server, &alice, &site.url("/json")).await.ok(), &json!({}));
        // The rest of a page is previewed without an image that must not be had.
        for path in ["/image-in-lan", "/image-is-secret", "/oembed-secret"] {
            let before = site.requests();
            assert_eq!(preview(&server, &alice, &site.url(path)).await.ok(), &json!({"og:title": "T"}), "{path}");
            assert_eq!(site.requests() - before, 1, "{path}");
        }
        let legacy = path(&site.url("/gzip")).replace("client/v1/media", "media/r0");
        assert_eq!(server.get(&legacy, &alice.token).await.ok()["og:title"], "A page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_pages_get_errors_within_bounds() {
    for place in places() {
        let server = TestServer::on(place).config(CONFIG).clock(Clock::manual(START_MS)).start().await;
        let alice = server.register("alice").await;
        let site = Site::start().await;
        let refusal = async |url: &str| {
            let answer = within(PATIENCE, preview(&server, &alice, url)).await.expect("in time");
            (answer.status, answer.body["errcode"].as_str().unwrap_or_default().to_owned())
        };
        let unknown = |status: u16| (status, "M_UNKNOWN".to_owned());
        let too_large = (502, "M_TOO_LARGE".to_owned());
        for path in ["/endless", "/long", "/bomb"] {
            assert_eq!(refusal(&site.url(path)).await, too_large, "{path}");
        }
        for path in ["/loop", "/not-gzip", "/brotli", "/pdf", "/missing"] {
            assert_eq!(refusal(&site.url(path)).await, unknown(502), "{path}");
        }
        for path in ["/secret", "/secret/page", "/to-secret", "/to-lan"] {
            assert_eq!(refusal(&site.url(path)).await, unknown(403), "{path}");
        }
        let with_user = site.url("/").replace("http://", "http://me:x@");
        assert_eq!(refusal(&with_user).await, unknown(403));
        for address in [
            "10.0.0.1",
            "10.1",
            "0x0a000001",
            "167772161",
            "012.0.0.1",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::a00:1]",
            "0.0.0.0",
            "[::]",
            "１０.0.0.1",
            "10.0.0.1.",
            "127.0.0.2",
        ] {
            assert_eq!(refusal(&format!("http://{address}/")).await, unknown(403), "{address}");
        }
        assert_eq!(refusal("http://nobody.invalid/").await, unknown(502));
        for url in
            ["file:///etc/passwd", "mxc://test.example/abcdef", "data:text/html,<title>x</title>", "ftp://a.example/"]
        {
            assert_eq!(refusal(url).await, unknown(400), "{url}");
        }
        assert_eq!(refusal(&site.url("/to-file")).await, unknown(400));
        for url in ["", "nonsense", "//a.example/", "http://", "http://["] {
            assert_eq!(refusal(url).await.1, "M_INVALID_PARAM", "{url}");
        }
        // What never ends is given up.
        let advance = async {
            let mut ticks = every(Duration::from_millis(50));
            while server.clock().now_ms() < START_MS + 3_600_000 {
                ticks.tick().await;
                server.clock().advance(Duration::from_secs(10));
            }
        };
        let slow = site.url("/slow");
        tokio::select! {
            refused = refusal(&slow) => assert_eq!(refused, too_large),
            () = advance => panic!("it is not given up"),
        }
        // Nothing is left of them.
        let incoming = server.config().media.media_store_path.join("incoming");
        until("no file is left", async || files(&incoming) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_headers_get_short_errors_at_once() {
    for place in places() {
        let server = TestServer::on(place).config(CONFIG).start().await;
        let alice = server.register("alice").await;
        let site = Site::start().await;
        for (requests, path) in (1..).zip(["/to-nowhere", "/long-type", "/long-image-type"]) {
            let answer = preview(&server, &alice, &site.url(path)).await;
            assert_eq!((answer.status, answer.bytes.len() < 1_000), (502, true), "{path}");
            assert_eq!(site.requests(), requests, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_checked() {
    for place in places() {
        let server = TestServer::on(place).config(CONFIG).start().await;
        let alice = server.register("alice").await;
        let base = "/_matrix/client/v1/media/preview_url";
        assert_eq!(server.get(base, &alice.token).await.refusal(), (400, "M_MISSING_PARAM"));
        let query = format!("{base}?url=http%3A%2F%2Fa.invalid&ts=yesterday");
        assert_eq!(server.get(&query, &alice.token).await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(server.get(&path("http://a.invalid/"), "nobody").await.refusal(), (401, "M_UNKNOWN_TOKEN"));
    }
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    for path in [path("http://a.invalid/"), "/_matrix/media/v3/preview_url".to_owned()] {
        assert_eq!(server.get(&path, &alice.token).await.refusal(), (404, "M_UNRECOGNIZED"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_user_has_fetched_is_bounded_over_time() {
    for place in places() {
        let config = CONFIG.replace("max_spider_size: 64K", "max_spider_size: 16M");
        let clock = Clock::manual(START_MS);
        let server = TestServer::on(place).config(&config).clock(clock.clone()).start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let site = Site::start().await;
        let mut asked = 0;
        loop {
            let answer = preview(&server, &alice, &site.url(&format!("/endless?{asked}"))).await;
            if answer.status == 429 {
                assert!(answer.body["retry_after_ms"].as_u64().is_some_and(|it| it > 0), "{:?}", answer.body);
                break;
            }
            assert_eq!(answer.refusal(), (502, "M_TOO_LARGE"));
            asked += 1;
        }
        assert!((2..6).contains(&asked), "{asked} times 16 MiB");
        let requests = site.requests();
        assert_eq!(preview(&server, &alice, &site.url("/")).await.status, 429);
        assert_eq!(site.requests(), requests, "the site is not asked");
        assert_eq!(preview(&server, &bob, &site.url("/")).await.ok()["og:title"], "A page");
        // What is known already costs nothing.
        assert_eq!(preview(&server, &alice, &site.url("/")).await.ok()["og:title"], "A page");
        clock.advance(HOUR / 2);
        assert_eq!(preview(&server, &alice, &site.url("/gzip")).await.ok()["og:title"], "A page");
    }
}
