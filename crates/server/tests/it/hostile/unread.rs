//! Requests that are answered before their body was read: the next request on the connection is answered too, or the
//! connection says that there is none, and nobody holds it open with the rest of a body.

use plexus_base::Clock;
use plexus_server::ConnectionLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::connections::advancing;
use super::*;

const KIB: usize = 1024;
const VERSIONS: &[u8] = b"GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\n\r\n";

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.url().strip_prefix("http://").unwrap()).await.unwrap()
}

/// The head of a request that is refused without a look at its body.
fn refused(headers: &str) -> Vec<u8> {
    format!("POST /_matrix/client/v3/createRoom HTTP/1.1\r\nHost: a\r\n{headers}\r\n").into_bytes()
}

/// The status of the next response, and whether it says that the connection ends.
async fn response(stream: &mut TcpStream) -> (u16, bool) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a response"));
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length: usize = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (head[9..12].parse().unwrap(), head.contains("connection: close\r\n"))
}

/// Nothing more comes.
async fn ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("the connection ends without a reset");
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn the_next_request_follows_a_small_body_that_nobody_read() {
    let server = TestServer::sqlite().await;
    for length in [1, KIB, 64 * KIB] {
        let mut stream = connect(&server).await;
        for _ in 0..3 {
            stream.write_all(&refused(&format!("Content-Length: {length}\r\n"))).await.unwrap();
            stream.write_all(&vec![b' '; length]).await.unwrap();
            assert_eq!(response(&mut stream).await, (401, false), "{length}");
            stream.write_all(VERSIONS).await.unwrap();
            assert_eq!(response(&mut stream).await, (200, false), "{length}");
        }
    }
    // Both at once, as by a client that does not wait.
    let mut stream = connect(&server).await;
    let body = vec![b' '; 8 * KIB];
    let both = [&refused(&format!("Content-Length: {}\r\n", body.len())), &body[..], VERSIONS].concat();
    stream.write_all(&both).await.unwrap();
    assert_eq!(response(&mut stream).await, (401, false));
    assert_eq!(response(&mut stream).await, (200, false));
}

#[tokio::test]
async fn a_large_body_that_nobody_read_ends_the_connection_and_the_answer_arrives() {
    let server = TestServer::sqlite().await;
    let mut stream = connect(&server).await;
    let body = vec![b' '; 8 * KIB * KIB];
    stream.write_all(&refused(&format!("Content-Length: {}\r\n", body.len()))).await.unwrap();
    // A client that reads nothing before it has sent everything.
    stream.write_all(&body).await.expect("the server takes the body");
    assert_eq!(response(&mut stream).await, (401, true));
    ended(&mut stream).await;
}

#[tokio::test]
async fn a_chunked_body_that_nobody_read_ends_the_connection() {
    let server = TestServer::sqlite().await;
    for chunks in [1, 200] {
        let mut stream = connect(&server).await;
        stream.write_all(&refused("Transfer-Encoding: chunked\r\n")).await.unwrap();
        let chunk = [b"2000\r\n", &vec![b' '; 8 * KIB][..], b"\r\n"].concat();
        for _ in 0..chunks {
            stream.write_all(&chunk).await.expect("the server takes the body");
        }
        stream.write_all(b"0\r\n\r\n").await.expect("the server takes the body");
        assert_eq!(response(&mut stream).await, (401, true), "{chunks}");
        ended(&mut stream).await;
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_answered_at_once() {
    let server = TestServer::sqlite().await;
    let mut stream = connect(&server).await;
    stream.write_all(&refused("Content-Length: 10\r\nExpect: 100-continue\r\n")).await.unwrap();
    assert_eq!(response(&mut stream).await, (401, true));
    ended(&mut stream).await;
}

#[tokio::test]
async fn nobody_holds_a_connection_with_the_rest_of_a_body() {
    let clock = Clock::manual(1_700_000_000_000);
    let limits = ConnectionLimits { total: 1, of_one_address: u32::MAX, count_private_addresses: false };
    let server = TestServer::on(TestPlace::sqlite()).clock(clock.clone()).connections(limits).start().await;
    for announced in [100, 100 * KIB * KIB] {
        let mut stream = connect(&server).await;
        stream.write_all(&refused(&format!("Content-Length: {announced}\r\n"))).await.unwrap();
        stream.write_all(b" ").await.unwrap();
        let (answer, _) = advancing(&clock, response(&mut stream)).await;
        assert_eq!(answer, (401, true), "{announced}");
        // One more byte now and then: there is one connection only, which the next client gets all the same.
        let next = async {
            let mut next = connect(&server).await;
            next.write_all(VERSIONS).await.unwrap();
            response(&mut next).await
        };
        let drip = async {
            let mut every = plexus_testkit::every(Duration::from_millis(20));
            loop {
                every.tick().await;
                if stream.write_all(b" ").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let both = async {
            tokio::select! {
                answer = next => answer,
                () = drip => unreachable!("it never ends"),
            }
        };
        let (answer, waited) = advancing(&clock, both).await;
        assert_eq!(answer, (200, false), "{announced}");
        assert!(waited < Duration::from_secs(60), "{announced}: {waited:?}");
    }
}
