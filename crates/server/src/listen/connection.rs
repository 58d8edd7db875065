//! One accepted connection, from its TLS handshake to its end.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use plexus_base::{Clock, Shutdown};
use plexus_http::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::exchange::Activity;
use super::heads::{BodyLengths, HeadGuard};
use super::slots::Slot;
use super::stall::StallGuard;

/// How long a new connection may take until its first request's head is complete, with a TLS handshake if there is one.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a later request's head may take, which is also how long an idle connection is kept: longer than proxies
/// keep theirs, so that it is they who close.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// The most header lines of a request.
const MAX_HEADERS: usize = 100;
/// The largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Requests at the same time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// What is kept in memory of one HTTP/2 response until the client allows it to be sent, in bytes.
const MAX_STREAM_BUFFER: usize = 64 * 1024;

/// What all connections of a listener share.
#[derive(Clone)]
pub struct Connections {
    /// What answers.
    pub router: Router,
    /// TLS, when the listener has it.
    pub tls: Option<TlsAcceptor>,
    /// The time.
    pub clock: Clock,
    /// When to stop.
    pub shutdown: Shutdown,
}

impl Connections {
    /// Serves a connection to its end, which gives back its `slot`. Errors of the network end it silently: they are
    /// the client's.
    pub async fn serve<S>(self, socket: S, peer: Peer, slot: Slot)
    where
        S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
    {
        let activity = Activity::new(slot, self.clock.clone());
        let clock = self.clock.clone();
        let socket = StallGuard::new(socket, self.clock.clone());
        let first_head_late = async {
            clock.sleep(FIRST_HEAD_TIMEOUT).await;
            if activity.has_had_request() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.serve_socket(socket, peer, &activity) => {}
            () = activity.slot().must_end() => {}
            () = first_head_late => {}
        }
    }

    async fn serve_socket<S>(self, socket: StallGuard<S>, peer: Peer, activity: &Arc<Activity>)
    where
        S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
    {
        let Some(acceptor) = self.tls.clone() else {
            self.serve_http1(socket, peer, activity).await;
            return;
        };
        let outcome = tokio::select! {
            outcome = acceptor.accept(socket) => outcome,
            () = self.shutdown.begun() => return,
        };
        let Ok(stream) = outcome else { return };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            tokio::select! {
                () = self.serve_http2(stream, peer, activity) => {}
                () = activity.streams_stall() => {}
            }
        } else {
            self.serve_http1(stream, peer, activity).await;
        }
    }

    async fn serve_http1<I>(self, stream: I, peer: Peer, activity: &Arc<Activity>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let lengths = BodyLengths::default();
        let stream = HeadGuard::new(stream, lengths.clone());
        let service = self.service(peer, activity, Some(lengths));
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

    async fn serve_http2<I>(self, stream: I, peer: Peer, activity: &Arc<Activity>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service(peer, activity, None);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .max_send_buf_size(MAX_STREAM_BUFFER)
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

    /// The router, told on each request who is at the other end. hyper calls this when it has parsed a head, and
    /// reads on only afterwards: that is what [`BodyLengths`] needs.
    fn service(
        &self,
        peer: Peer,
        activity: &Arc<Activity>,
        lengths: Option<BodyLengths>,
    ) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + 'static> + use<> {
        let peer = Arc::new(peer);
        let router = self.router.clone();
        let activity = Arc::clone(activity);
        service_fn(move |request: Request<Incoming>| {
            let length = request.body().size_hint().exact();
            if let Some(lengths) = &lengths {
                lengths.parsed(length);
            }
            let last = length.is_none() && request.version() <= Version::HTTP_11;
            let exchange = activity.begin();
            let mut request = request.map(|body| Body::new(exchange.request_body(body)));
            request.extensions_mut().insert(Peer::clone(&peer));
            let answer = router.clone().oneshot(request);
            async move {
                let mut response: Response = answer.await?;
                if last {
                    // Where its body ends is not known to those who look at the next head.
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Body::new(exchange.response_body(body))))
            }
        })
    }
}
