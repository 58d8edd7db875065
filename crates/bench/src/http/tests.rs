use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Starts a server that sends each of `answers` in response to one request of a connection, in pieces of `piece` bytes,
/// for `connections` connections.
async fn serve(answers: &'static [&'static str], piece: usize, connections: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let host = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().await.expect("the client connects");
            stream.set_nodelay(true).expect("a socket has options");
            for answer in answers {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(stream.read_u8().await.expect("the client asks"));
                }
                for part in answer.as_bytes().chunks(piece) {
                    stream.write_all(part).await.expect("the client listens");
                }
            }
        }
    });
    host
}

#[tokio::test]
async fn bodies_of_known_length_and_in_chunks_follow_one_another_however_they_arrive() {
    const ANSWERS: &[&str] = &[
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nseco\r\n2\r\nnd\r\n0\r\nTrailer: t\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast",
    ];
    for piece in [1, 7, 1000] {
        let mut connection = Connection::open(&serve(ANSWERS, piece, 1).await).await.expect("the server listens");
        for (status, body) in [(200, "first"), (200, "second"), (404, ""), (200, ""), (200, "last")] {
            let reply = connection.ask(Request::json("GET", "/", None, None)).await.expect("the server answers");
            assert_eq!((reply.status, reply.body), (status, body.as_bytes()), "in pieces of {piece}");
        }
        let end = connection.ask(Request::json("GET", "/", None, None)).await;
        assert!(end.is_err(), "the server has gone");
    }
}

#[tokio::test]
async fn what_a_server_closed_meanwhile_is_asked_on_a_new_connection() {
    const ANSWERS: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"];
    let mut connection = Connection::open(&serve(ANSWERS, 100, 3).await).await.expect("the server listens");
    for _ in 0..3 {
        let reply = connection.ask(Request::json("GET", "/", None, None)).await.expect("the server answers");
        assert_eq!(reply.body, b"ok");
    }
    assert!(connection.ask(Request::json("GET", "/", None, None)).await.is_err(), "the server has gone");
}
