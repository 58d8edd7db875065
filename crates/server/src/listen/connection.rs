//! One accepted connection, from its TLS handshake to its end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use plexus_base::Shutdown;
use plexus_http::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a request's head may take, which is also how long an idle connection is kept: longer than proxies keep theirs, so
/// that it is they who close.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// The most header lines of a request.
const MAX_HEADERS: usize = 100;
/// The largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Requests at the same time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;

/// What all connections of a listener share.
#[derive(Clone)]
pub struct Connections {
    /// What answers.
    pub router: Router,
    /// TLS, when the listener has it.
    pub tls: Option<TlsAcceptor>,
    /// When to stop.
    pub shutdown: Shutdown,
}

impl Connections {
    /// Serves a TCP connection to its end. Errors of the network end it silently: they are the client's.
    pub async fn serve_tcp(self, stream: TcpStream, peer: Peer) {
        // Answers are written whole; waiting to fill a packet only adds delay. Failing to say so is harmless.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = self.tls.clone() else {
            self.serve_http1(stream, peer).await;
            return;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
        let outcome = tokio::select! {
            outcome = handshake => outcome,
            () = self.shutdown.begun() => return,
        };
        let Ok(Ok(stream)) = outcome else { return };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.serve_http2(stream, peer).await;
        } else {
            self.serve_http1(stream, peer).await;
        }
    }

    /// Serves HTTP/1.1 on any stream to its end.
    pub async fn serve_http1<I>(self, stream: I, peer: Peer)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service(peer);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.shutdown.begun() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn serve_http2<I>(self, stream: I, peer: Peer)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service(peer);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .keep_alive_interval(Some(HEAD_TIMEOUT / 3))
            .keep_alive_timeout(HEAD_TIMEOUT / 3)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.shutdown.begun() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    /// The router, told on each request who is at the other end.
    fn service(
        &self,
        peer: Peer,
    ) -> TowerToHyperService<
        impl tower::Service<
            http::Request<hyper::body::Incoming>,
            Response = axum::response::Response,
            Error = std::convert::Infallible,
            Future: Send,
        > + Clone
        + Send
        + use<>,
    > {
        let peer = Arc::new(peer);
        let router = self.router.clone();
        TowerToHyperService::new(router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer::clone(&peer));
            request.map(axum::body::Body::new)
        }))
    }
}
