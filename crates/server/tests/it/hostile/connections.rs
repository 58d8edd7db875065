//! Connections that do nothing, or read nothing: they end, they make room, and whoever waits or is slow is left alone.

use futures_util::future::join_all;
use http::Method;
use plexus_base::Clock;
use plexus_server::ConnectionLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// No limit for one address, since all clients of a test have the same.
const fn total(total: u32) -> ConnectionLimits {
    ConnectionLimits { total, of_one_address: u32::MAX, count_private_addresses: false }
}

async fn start(clock: &Clock, limits: ConnectionLimits) -> TestServer {
    TestServer::on(TestPlace::sqlite()).clock(clock.clone()).connections(limits).start().await
}

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.url().strip_prefix("http://").unwrap()).await.unwrap()
}

/// A connection whose end here keeps little that is not read.
async fn connect_with_small_buffer(server: &TestServer) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(server.url().strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap()
}

const CLIENT_MEDIA: &str = "/_matrix/client/v1/media";
const VERSIONS: &[u8] = b"GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\n\r\n";

/// Reads one response with a Content-Length; returns its status line.
async fn response(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await?;
    Ok(head.lines().next().unwrap().to_owned())
}

async fn ask(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(VERSIONS).await?;
    response(stream).await
}

/// Moves the clock on until `done`; returns by how much at least.
pub(super) async fn advancing<T>(clock: &Clock, done: impl Future<Output = T>) -> (T, Duration) {
    let before = clock.monotonic();
    let moving = async {
        let mut every = plexus_testkit::every(Duration::from_millis(10));
        loop {
            every.tick().await;
            clock.advance(Duration::from_secs(1));
        }
    };
    let done = async {
        tokio::select! { done = done => done, () = moving => unreachable!("the clock moves without end") }
    };
    let done = plexus_testkit::within(BOUND, done).await.expect("it must not take for ever");
    (done, clock.monotonic() - before)
}

/// Waits until the server has ended the connection.
async fn ended(mut stream: TcpStream) {
    let mut rest = vec![0; 65_536];
    while let Ok(1..) = stream.read(&mut rest).await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_ended() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = start(&clock, total(1_000)).await;
    let mut silent = Vec::new();
    for part in ["", "GET / HTTP/1.1\r\nHost: a\r\n", "\r\n"] {
        let mut stream = connect(&server).await;
        stream.write_all(part.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    // Who has asked for something keeps its connection.
    let mut used = connect(&server).await;
    ask(&mut used).await.unwrap();
    let (_, took) = advancing(&clock, join_all(silent.into_iter().map(ended))).await;
    assert!(took >= Duration::from_secs(20), "{took:?}");
    ask(&mut used).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_tls_handshake_is_ended() {
    let clock = Clock::manual(1_800_000_000_000);
    let tls = "listeners: [{port: 8448, bind_addresses: ['127.0.0.1'], type: http, tls: true, \
    resources: [{names: [client]}]}]";
    let server = TestServer::on(TestPlace::sqlite()).clock(clock.clone()).config(tls).start().await;
    let mut stream = connect(&server).await;
    // The beginning of a record that does not come.
    stream.write_all(b"\x16\x03\x01\x02\x00").await.unwrap();
    advancing(&clock, ended(stream)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_disconnected() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = start(&clock, total(1_000)).await;
    let alice = server.register("alice").await;
    let media = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    let uploaded = server.send(Method::POST, "/_matrix/media/v3/upload", Some(&alice.token), &[], media).await;
    let uri = uploaded.ok()["content_uri"].as_str().unwrap().to_owned();
    let path = format!("{CLIENT_MEDIA}/download/{}", uri.strip_prefix("mxc://").unwrap());
    for request in ["/_matrix/client/versions", &path] {
        let head = format!("GET {request} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", alice.token);
        let many = head.repeat(100);
        let mut stream = connect_with_small_buffer(&server).await;
        // The server stops reading when nobody reads what it writes: what is sent to it is bounded by what the system
        // keeps.
        let mut sent = 0;
        let (_, took) = advancing(&clock, async {
            while let Ok(written @ 1..) = stream.write(many.as_bytes()).await {
                sent += written;
            }
        })
        .await;
        assert!(took >= Duration::from_secs(30), "{took:?}");
        assert!(sent < 16 * 1024 * 1024, "{sent} bytes of requests were accepted");
    }
    server.get("/_matrix/client/v3/account/whoami", &alice.token).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_outlives_the_timeouts() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = start(&clock, total(1_000)).await;
    let alice = server.register("alice").await;
    let since = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok()["next_batch"].clone();
    let path = format!("{CLIENT}/sync?timeout=60000&since={}", since.as_str().unwrap());
    let poll = server.get(&path, &alice.token);
    let (answer, took) = advancing(&clock, poll).await;
    answer.ok();
    assert!(took >= Duration::from_secs(60), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_comes_to_its_end() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = start(&clock, total(1_000)).await;
    let alice = server.register("alice").await;
    let media = bytes::Bytes::from(vec![b'x'; 8 << 20]);
    let uploaded = server.send(Method::POST, "/_matrix/media/v3/upload", Some(&alice.token), &[], media).await;
    let uri = uploaded.ok()["content_uri"].as_str().unwrap().to_owned();
    let path = format!("{CLIENT_MEDIA}/download/{}", uri.strip_prefix("mxc://").unwrap());
    let mut stream = connect_with_small_buffer(&server).await;
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n", alice.token);
    stream.write_all(head.as_bytes()).await.unwrap();
    // More than the system delivers at once, so that the server has written in between whenever the clock moves.
    let mut part = vec![0; 128 * 1024];
    for read in 0..(8 << 20) / part.len() {
        let done = stream.read_exact(&mut part).await;
        assert!(done.is_ok(), "{done:?} after {read} pieces");
        // Together far more than any timeout.
        clock.advance(Duration::from_secs(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_coming_is_given_up() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = start(&clock, total(1_000)).await;
    let alice = server.register("alice").await;
    let upload = async |trickle: bool| {
        let mut stream = connect(&server).await;
        let head = format!(
            "POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Content-Length: 100000\r\n\r\n",
            alice.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b'x'; 5_000]).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let dripping = async {
            let mut every = plexus_testkit::every(Duration::from_millis(50));
            while trickle && write.write_all(b"x").await.is_ok() {
                every.tick().await;
            }
            std::future::pending::<()>().await;
        };
        let mut said = Vec::new();
        tokio::select! {
            _ = read.read_to_end(&mut said) => {}
            () = dripping => {}
        }
        String::from_utf8_lossy(&said).into_owned()
    };
    for trickle in [false, true] {
        let (said, took) = advancing(&clock, upload(trickle)).await;
        assert!(took >= Duration::from_secs(30), "{took:?}");
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_idle_makes_room_for_who_asks_for_something() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = start(&clock, total(8)).await;
    let alice = server.register("alice").await;
    // One waits for news in a long poll, the others have nothing to say.
    let since = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok()["next_batch"].clone();
    let head = format!(
        "GET {CLIENT}/sync?timeout=300000&since={} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        since.as_str().unwrap(),
        alice.token
    );
    let mut poll = connect(&server).await;
    poll.write_all(head.as_bytes()).await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(&server).await;
        // Its answer shows that it has a slot.
        plexus_testkit::within(BOUND, ask(&mut stream)).await.expect("there is room").unwrap();
        idle.push(stream);
    }
    for _ in 0..50 {
        idle.push(connect(&server).await);
    }
    let mut late = connect(&server).await;
    plexus_testkit::within(BOUND, ask(&mut late)).await.expect("there is room").unwrap();
    // The earliest were ended, the latest was not, nor was the one with a request in progress.
    plexus_testkit::within(BOUND, ended(idle.remove(0))).await.expect("the longest idle was ended");
    ask(&mut late).await.unwrap();
    let (answer, _) = advancing(&clock, response(&mut poll)).await;
    assert_eq!(answer.unwrap(), "http/1.1 200 ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_makes_room_when_nothing_is_idle() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = start(&clock, total(8)).await;
    let alice = server.register("alice").await;
    let since = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok()["next_batch"].clone();
    let head = format!(
        "GET {CLIENT}/sync?timeout=300000&since={} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        since.as_str().unwrap(),
        alice.token
    );
    let mut polls = Vec::new();
    for _ in 0..8 {
        let mut poll = connect(&server).await;
        poll.write_all(head.as_bytes()).await.unwrap();
        polls.push(poll);
    }
    // Whoever asks for something has an answer long before the polls time out.
    let mut late = connect(&server).await;
    let (answer, took) = advancing(&clock, ask(&mut late)).await;
    answer.unwrap();
    assert!(took < Duration::from_secs(100), "{took:?}");
    // One whose request had not come in by then was idle and may have been ended without an answer.
    let (ends, _) = advancing(&clock, join_all(polls.iter_mut().map(response))).await;
    assert!(ends.into_iter().all(|end| end.is_err() || end.is_ok_and(|status| status == "http/1.1 200 ok")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_have_all_connections() {
    let limits = ConnectionLimits { total: 100, of_one_address: 5, count_private_addresses: true };
    let plain = "{port: 8008, bind_addresses: ['127.0.0.1'], type: http, resources: [{names: [client]}]}";
    let proxied =
        "{port: 8009, bind_addresses: ['127.0.0.1'], type: http, x_forwarded: true, resources: [{names: [client]}]}";
    for (listener, capped) in [(plain, true), (proxied, false)] {
        let config = format!("listeners: [{listener}]");
        let server = TestServer::on(TestPlace::sqlite()).config(&config).connections(limits).start().await;
        let mut streams = Vec::new();
        for _ in 0..5 {
            let mut stream = connect(&server).await;
            ask(&mut stream).await.unwrap();
            streams.push(stream);
        }
        let mut more = connect(&server).await;
        assert_eq!(ask(&mut more).await.is_err(), capped);
        // One that has ended is counted no more.
        drop((streams.pop(), more));
        let again = async { while ask(&mut connect(&server).await).await.is_err() {} };
        plexus_testkit::within(BOUND, again).await.expect("there is room again");
    }
}
