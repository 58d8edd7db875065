//! Request heads through the HTTP parser to the X-Matrix header: whatever bytes arrive, the parser ends, every request
//! that comes out of it has a target that can be signed over, and each signature is checked without a panic.
#![no_main]

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use libfuzzer_sys::fuzz_target;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_protocol::x_matrix::{self, XMatrix};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(&[7; 32], "fuzz"));
static HERE: LazyLock<ServerName> = LazyLock::new(|| "here.example".parse().expect("a name"));

/// A connection on which these bytes arrive and nothing else; what is written goes nowhere.
struct Arrived<'a>(&'a [u8]);

impl Read for Arrived<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let (now, later) = self.0.split_at(self.0.len().min(buf.remaining()));
        buf.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Arrived<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let uri = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    for header in request.headers().get_all("authorization").iter().filter_map(|header| header.to_str().ok()) {
        let Ok(header) = XMatrix::parse(header) else { continue };
        let signed =
            x_matrix::Request { method: request.method().as_str(), uri: &uri, destination: &HERE, content: None };
        assert!(signed.signed_json(&header.origin).starts_with('{'));
        let own = XMatrix::sign(&signed, &header.origin, &KEY);
        assert_eq!(XMatrix::parse(&own.to_string()), Ok(own));
    }
    Ok(Response::new(Empty::new()))
}

fuzz_target!(|bytes: &[u8]| {
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .max_headers(100)
            .max_buf_size(64 * 1024)
            .serve_connection(Arrived(bytes), service_fn(answer))
    );
    let mut context = Context::from_waker(std::task::Waker::noop());
    // Nothing ever waits: the bytes are all there.
    for _ in 0..1_000 {
        if std::future::Future::poll(connection.as_mut(), &mut context).is_ready() {
            return;
        }
    }
});
