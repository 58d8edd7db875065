//! Bodies that are large, slow or many, and names of servers that nobody has.

use http::Method;
use plexus_base::Clock;
use plexus_http::{BodyLimit, Route};
use plexus_store::DbError;
use plexus_store::repo::destinations;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const SEND: &str = "/_matrix/federation/v1/send";
const MIB: usize = 1024 * 1024;

/// Opens a connection and sends the head of a request, of whose body `announced` bytes are to come.
async fn begin(server: &TestServer, method: &str, path: &str, headers: &str, announced: usize) -> TcpStream {
    let address = server.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {announced}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The status of the first answer: 100 when the server asks for the body.
async fn status(stream: &mut TcpStream) -> u16 {
    let mut head = [0; 12];
    let read = plexus_testkit::within(BOUND, stream.read_exact(&mut head)).await;
    read.expect("an answer").expect("an answer");
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}

/// An X-Matrix header that nobody has signed, in the name of `origin`.
fn unsigned(origin: &str) -> String {
    let signature = STANDARD_NO_PAD.encode([7; 64]);
    format!(
        "Authorization: X-Matrix \
         origin=\"{origin}\",destination=\"test.example\",key=\"ed25519:p_1\",sig=\"{signature}\"\r\n"
    )
}

/// A transaction with nothing in it.
async fn transact(server: &TestServer, peer: &Peer) -> Answer {
    let body = json!({ "origin": peer.name().as_str(), "origin_server_ts": 1, "pdus": [] });
    let path = format!("{SEND}/{}", unique_name());
    plexus_testkit::within(BOUND, peer.put(server, &path, body)).await.expect("an honest server is answered")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_for_servers_whose_keys_cannot_be_had() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(MANY).start().await;
        let mut hanging = Vec::new();
        for _ in 0..20 {
            // A server that takes connections and says nothing.
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let origin = listener.local_addr().unwrap().to_string();
            let path = format!("{SEND}/{}", hanging.len());
            let request = begin(&server, "PUT", &path, &unsigned(&origin), 13_000_000).await;
            let (asked, _) = plexus_testkit::within(BOUND, listener.accept()).await.expect("it is asked").unwrap();
            hanging.push((request, asked));
        }
        let sending: Vec<_> = hanging
            .into_iter()
            .map(|(mut request, asked)| {
                let sending = tokio::spawn(async move { request.write_all(&vec![b' '; 13_000_000]).await });
                (sending, asked)
            })
            .collect();
        // One whose key is not known either, while all of them are waiting.
        transact(&server, &Peer::start().await).await.ok();
        assert_eq!(server.unverified_body_bytes(), 0);
        assert!(sending.iter().all(|(sending, _)| !sending.is_finished()), "nobody takes what they send");
        // Nor is anything read when the search has come to nothing.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = listener.local_addr().unwrap().to_string();
        let expecting = format!("{}Expect: 100-continue\r\n", unsigned(&origin));
        let mut request = begin(&server, "PUT", &format!("{SEND}/x"), &expecting, 13_000_000).await;
        drop(listener);
        assert_eq!(status(&mut request).await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_the_name_of_a_known_server_share_a_budget() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = TestServer::on(TestPlace::sqlite()).clock(clock.clone()).config(MANY).start().await;
    let honest = Peer::start().await;
    transact(&server, &honest).await.ok();
    let mut flood = Vec::new();
    for number in 0..12 {
        let headers = unsigned(honest.name().as_str());
        let mut request = begin(&server, "PUT", &format!("{SEND}/{number}"), &headers, 9_000_000).await;
        flood.push(tokio::spawn(async move {
            // All but the last byte. Who is refused meanwhile may find the connection closed.
            drop(request.write_all(&vec![b' '; 8_999_999]).await);
            request
        }));
    }
    let mut every = plexus_testkit::every(Duration::from_millis(20));
    while server.unverified_body_bytes() < 63 * MIB {
        every.tick().await;
    }
    transact(&server, &honest).await.ok();
    assert!(server.unverified_body_bytes() <= 96 * MIB, "{}", server.unverified_body_bytes());
    // Time passes: some are refused for want of room, the others because nothing more comes.
    while server.unverified_body_bytes() > 0 {
        clock.advance(Duration::from_secs(1));
        every.tick().await;
    }
    for request in flood {
        drop(request.await.unwrap());
    }
    transact(&server, &honest).await.ok();
}

/// Every route that may be given a body.
fn routes() -> Vec<Route> {
    let mut routes = plexus_api_client::routes().list().to_vec();
    routes.extend_from_slice(plexus_api_admin::routes().list());
    routes.extend_from_slice(plexus_api_federation::routes::open().list());
    routes.extend_from_slice(plexus_api_federation::routes::for_servers().list());
    routes.retain(|route| route.method != Method::GET);
    routes
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_asks_a_stranger_for_a_large_body() {
    let server = TestServer::sqlite().await;
    let (mut refused, mut unauthorized) = (Vec::new(), 0);
    for Route { method, path, .. } in routes() {
        let filled: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "m.login.dummy" } else { part }).collect();
        let path = filled.join("/");
        let mut request =
            begin(&server, method.as_str(), &path, "Expect: 100-continue\r\nConnection: close\r\n", 13_000_000).await;
        match status(&mut request).await {
            401 => unauthorized += 1,
            413 | 400 | 403 => refused.push(path),
            // Whoever knows the id of a delayed event may manage it; there is no such action.
            404 if path.contains("/org.matrix.msc4140/delayed_events/") => refused.push(path),
            // So may whoever knows the id of a rendezvous session; there are none here.
            404 if path.contains("/rendezvous/") => refused.push(path),
            other => panic!("{method} {path}: {other}"),
        }
    }
    assert!(unauthorized > 200 && refused.len() > 10, "{unauthorized} {refused:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_its_limit_is_refused_before_the_body_is_read() {
    let limits = "rc_login: {address: {per_second: 0.001, burst_count: 1}}\n\
    rc_registration: {per_second: 0.001, burst_count: 1}";
    let server = TestServer::on(TestPlace::sqlite()).config(limits).start().await;
    let status = async |path: &str| {
        let mut request = begin(&server, "POST", path, "Expect: 100-continue\r\nConnection: close\r\n", 1_000).await;
        status(&mut request).await
    };
    let (login, register) = (format!("{CLIENT}/login"), format!("{CLIENT}/register"));
    assert_eq!((status(&login).await, status(&register).await), (100, 100));
    server.register("alice").await;
    server.log_in("alice").await;
    assert_eq!((status(&login).await, status(&register).await), (429, 429));
}

#[test]
fn every_route_takes_little_but_for_these() {
    let large = routes().into_iter().filter(|route| !["/r0/", "/unstable/"].iter().any(|old| route.path.contains(old)));
    let mut large: Vec<String> = large
        .filter_map(|route| {
            let limit = match route.body {
                BodyLimit::Streamed => "streamed".to_owned(),
                BodyLimit::Bytes(bytes) if bytes > 64 * 1024 => format!("{} KiB", bytes / 1024),
                BodyLimit::Bytes(_) => return None,
            };
            Some(format!("{limit} {} {}", route.method, route.path))
        })
        .collect();
    large.sort();
    let listed: Vec<_> = include_str!("../../data/large-bodies.txt").lines().collect();
    assert_eq!(large, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_has_leave_no_rows() {
    for place in plexus_testkit::places() {
        let mut server = TestServer::on(place).config(MANY).start().await;
        let alice = server.register("alice").await;
        // Nothing listens on the lowest ports.
        let name = |number: usize| format!("127.0.0.{}:{}", 1 + number / 100, 1 + number % 19);
        for batch in 0..10 {
            let names = (0..100).map(|number| (name(batch * 100 + number), json!({})));
            let body = json!({ "server_keys": names.collect::<serde_json::Map<_, _>>() });
            server.request(Method::POST, "/_matrix/key/v2/query", None, Some(body)).await.ok();
        }
        for number in 0..100 {
            let headers = unsigned(&name(number));
            let mut request = begin(&server, "PUT", &format!("{SEND}/{number}"), &headers, 2).await;
            assert_eq!(status(&mut request).await, 401);
            let path = format!("{CLIENT}/profile/@nobody:{}", name(number));
            assert_eq!(server.get(&path, &alice.token).await.status, 502);
        }
        let database = server.open_database().await;
        let rows: Result<_, DbError> = database.read(destinations::failing).await;
        assert_eq!(rows.unwrap(), []);
        database.close().await;
    }
}
