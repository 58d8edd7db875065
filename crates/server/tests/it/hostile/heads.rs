//! Requests that a proxy in front may understand otherwise than this server: request smuggling.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// What the server says on a connection on which `sent` comes, until it ends the connection.
async fn said(server: &TestServer, pieces: &[&str]) -> String {
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        // The server may have ended the connection already.
        let _ = stream.write_all(piece.as_bytes()).await;
        tokio::task::yield_now().await;
    }
    let mut said = Vec::new();
    let all = plexus_testkit::within(BOUND, stream.read_to_end(&mut said)).await;
    assert!(all.is_ok(), "the connection stays open after {pieces:?}: {:?}", String::from_utf8_lossy(&said));
    String::from_utf8_lossy(&said).into_owned()
}

/// The statuses of the responses in it.
fn statuses(said: &str) -> Vec<&str> {
    said.split("HTTP/1.1 ").skip(1).map(|response| &response[..3]).collect()
}

const REFUSED: &[(&str, &str)] = &[
    ("two hosts", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("the same host twice", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("two hosts in one header", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    ("no host", "GET /_matrix/client/versions HTTP/1.1\r\nAccept: a\r\n\r\n"),
    ("a host that is none", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a/b@c\r\n\r\n"),
    ("a target of another host", "GET http://a.example/_matrix/client/versions HTTP/1.1\r\nHost: b.example\r\n\r\n"),
    ("a bare LF after the request line", "GET /_matrix/client/versions HTTP/1.1\nHost: a\r\n\r\n"),
    ("a bare LF after a header", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    ("a bare LF at the end", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\n\n"),
    ("bare LFs", "GET /_matrix/client/versions HTTP/1.1\nHost: a\n\n"),
    ("a bare LF before", "\nGET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a bare CR", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
    ("two CRs", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    ("NUL", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
    ("a folded line", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
    ("a folded first line", "GET /_matrix/client/versions HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n"),
    ("a space before the colon", "GET /_matrix/client/versions HTTP/1.1\r\nHost : a\r\n\r\n"),
    ("a space in a name", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n"),
    ("no name", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n"),
    ("no colon", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    ("a letter beyond ASCII in a name", "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nX\u{e9}: z\r\n\r\n"),
    ("two lengths", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    ("two lengths in one header", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\n{}"),
    ("a signed length", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}"),
    ("a negative length", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\n{}"),
    ("an empty length", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n{}"),
    ("chunked and then more", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("more and then chunked", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice",
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("chunked misspelt", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunked in HTTP/1.0", "PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("two spaces in the request line", "GET  /_matrix/client/versions HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("another version", "GET /_matrix/client/versions HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("no version", "GET /_matrix/client/versions\r\nHost: a\r\n\r\n"),
];

const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const GOOD: &str = "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_that_may_mean_two_things_is_refused_and_ends_its_connection() {
    let server = TestServer::sqlite().await;
    for (name, head) in REFUSED {
        let alone = said(&server, &[head]).await;
        assert_eq!(statuses(&alone), ["400"], "{name}: {alone}");
        let followed = said(&server, &[&[head, NEXT].concat()]).await;
        assert_eq!(statuses(&followed), ["400"], "{name}: {followed}");
        let later = said(&server, &[&[GOOD, GOOD, head, NEXT].concat()]).await;
        assert_eq!(statuses(&later), ["200", "200", "400"], "{name}: {later}");
        let (one, two) = head.split_at(head.find('\n').unwrap_or(0));
        let in_pieces = said(&server, &[GOOD, one, two]).await;
        assert_eq!(statuses(&in_pieces), ["200", "400"], "{name}: {in_pieces}");
    }
}

#[tokio::test]
async fn the_request_after_a_body_begins_where_its_length_says() {
    let server = TestServer::sqlite().await;
    let body = |text: &str| format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    // A body may be anything, also what looks like a head with bare LFs.
    let with_body = body("GET / HTTP/1.1\nHost: a\n\n");
    let all = said(&server, &[&[GOOD, &with_body, LAST].concat()]).await;
    assert_eq!(statuses(&all).len(), 3, "{all}");
    assert_eq!(statuses(&all)[2], "200", "{all}");
    let broken = said(&server, &[&[&with_body, "GET / HTTP/1.1\nHost: a\r\n\r\n"].concat()]).await;
    assert_eq!(statuses(&broken)[1..], ["400"], "{broken}");
    // Where a chunked body ends only its reader sees: nothing is read after it.
    let chunked =
        "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let ended = said(&server, &[&[chunked, NEXT].concat()]).await;
    assert_eq!(statuses(&ended), ["400"], "{ended}");
    assert!(ended.contains("M_BAD_JSON") || ended.contains("M_MISSING_PARAM"), "its body has been read: {ended}");
    // With both a length and chunked, nothing that the one or the other leaves over is a request.
    for both in ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"] {
        let head = format!("POST /_matrix/client/v3/login HTTP/1.1\r\nHost: a\r\n{both}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
        let ended = said(&server, &[&[&head, NEXT].concat()]).await;
        assert_eq!(statuses(&ended).len(), 1, "{ended}");
    }
}
