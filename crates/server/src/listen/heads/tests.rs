use std::future::poll_fn;

use tokio::io::AsyncWriteExt as _;
use tokio::io::DuplexStream;

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Returns what a parser reads of `sent` in pieces of `piece` bytes; `length` is the length it reads from each head.
async fn read(sent: &str, piece: usize, length: Option<u64>) -> String {
    let (near, mut far): (DuplexStream, DuplexStream) = tokio::io::duplex(sent.len().max(1));
    far.write_all(sent.as_bytes()).await.unwrap();
    drop(far);
    let lengths = BodyLengths::default();
    let mut guard = HeadGuard::new(near, lengths.clone(), Unread::default());
    let mut seen = Vec::new();
    loop {
        let mut space = vec![0; piece];
        let mut buf = ReadBuf::new(&mut space);
        poll_fn(|cx| Pin::new(&mut guard).poll_read(cx, &mut buf)).await.unwrap();
        if buf.filled().is_empty() {
            return String::from_utf8(seen).unwrap();
        }
        seen.extend_from_slice(buf.filled());
        if let Phase::Parsed = guard.phase {
            assert!(seen.ends_with(b"\r\n\r\n"), "what is handed on ends with the head");
            lengths.parsed(length);
        }
    }
}

#[tokio::test]
async fn heads_and_bodies_come_through_however_they_are_cut() {
    let pipelined = [GET, GET, "\r\n\r\n", GET].concat();
    let with_bodies = "PUT / HTTP/1.1\r\n\r\n\n\n\nPUT / HTTP/1.1\r\n\r\nA\nB";
    let chunked = "PUT / HTTP/1.1\r\n\r\n2\r\n\n\n\r\n0\r\n\r\nGET / HTTP/1.1\n\n";
    for piece in 1..80 {
        assert_eq!(read(&pipelined, piece, Some(0)).await, pipelined);
        assert_eq!(read(with_bodies, piece, Some(3)).await, with_bodies);
        // The connection ends with a chunked body: what follows is nobody's head.
        assert_eq!(read(chunked, piece, None).await, chunked);
    }
}

#[tokio::test]
async fn a_bare_lf_in_any_head_breaks_it_off() {
    let heads = [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\n\n",
        "\nGET / HTTP/1.1\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\r\nB: c\n\r\n\r\n",
    ];
    for head in heads {
        for before in ["", GET, &[GET, GET].concat()] {
            for piece in 1..80 {
                let seen = read(&[before, head, GET].concat(), piece, Some(0)).await;
                let (whole, broken) = seen.split_at(before.len());
                assert_eq!(whole, before);
                assert!(broken.ends_with("\0\r\n\r\n") && !broken.contains(GET), "{piece}: {broken:?}");
            }
        }
    }
    // After a body of known length comes a head again.
    let seen = read("PUT / HTTP/1.1\r\n\r\nA\nBGET / HTTP/1.1\n\n", 100, Some(3)).await;
    assert_eq!(seen, "PUT / HTTP/1.1\r\n\r\nA\nBGET / HTTP/1.1\0\r\n\r\n");
}
