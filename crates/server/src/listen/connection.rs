//! One accepted connection, from its TLS handshake to its end.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use http::header::{CONNECTION, EXPECT, HeaderValue};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use plexus_base::{Clock, LongPoll, Shutdown};
use plexus_http::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::exchange::Activity;
use super::half_close::HalfClose;
use super::heads::{BodyLengths, HeadGuard};
use super::linger::{LingeringClose, Unread};
use super::slots::Slot;
use super::stall::StallGuard;

/// How long a new connection may take until its first request's head is complete, including a TLS handshake.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a later request's head may take, and so how long an idle connection is kept: longer than proxies keep
/// theirs, so that the proxies close first.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// The most header lines of a request.
const MAX_HEADERS: usize = 100;
/// The largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long a connection that makes room for another may take to send the rest of its responses.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(10);
/// The most simultaneous requests on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// The most bytes of an HTTP/2 response in memory that wait until the client allows them to be sent.
const MAX_STREAM_BUFFER: usize = 64 * 1024;

/// The parts that all connections of a listener share.
#[derive(Clone)]
pub(super) struct Connections {
    /// Handles the requests.
    pub router: Router,
    /// Set if the listener has TLS.
    pub tls: Option<TlsAcceptor>,
    /// For the limits on time.
    pub clock: Clock,
    /// Begins when the server stops.
    pub shutdown: Shutdown,
}

/// What the request bodies of an HTTP/1 connection mean for the bytes after them.
#[derive(Clone, Default)]
struct Bodies {
    lengths: BodyLengths,
    unread: Unread,
}

impl Connections {
    /// Serves a connection until it ends, which frees its `slot`. Errors of the network end it without a log line: they
    /// are the client's.
    pub(super) async fn serve<S>(self, socket: S, peer: Peer, slot: Slot)
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
            () = activity.slot().must_end() => return,
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
        let bodies = Bodies::default();
        let stream = LingeringClose::new(stream, self.clock.clone(), bodies.unread.clone());
        let stream = HeadGuard::new(stream, bodies.lengths.clone(), bodies.unread.clone());
        let stream = HalfClose::new(stream, Arc::clone(activity));
        let service = self.service(peer, activity, Some(bodies));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.must_leave(activity) => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = connection => {}
            () = self.has_left(activity) => {}
        }
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
            () = self.must_leave(activity) => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = connection => {}
            () = self.has_left(activity) => {}
        }
    }

    /// Waits until the connection must take no further requests.
    async fn must_leave(&self, activity: &Activity) {
        tokio::select! {
            () = self.shutdown.begun() => {}
            () = activity.slot().must_end() => {}
        }
    }

    /// Waits until a connection that takes no further requests may be dropped: it has had none, or nothing was in
    /// progress for [`LEAVING_TIMEOUT`]. Until then the rest of its responses is being sent. How long a shutdown waits
    /// is decided elsewhere.
    async fn has_left(&self, activity: &Activity) {
        while activity.has_had_request() {
            let busy = activity.slot().is_busy();
            self.clock.sleep(LEAVING_TIMEOUT).await;
            if !busy && !activity.slot().is_busy() {
                return;
            }
        }
    }

    /// Returns the router, with the connection's other end among the extensions of each request. hyper calls this when
    /// it has parsed a head, and reads on only afterwards: [`BodyLengths`] needs that.
    fn service(
        &self,
        peer: Peer,
        activity: &Arc<Activity>,
        bodies: Option<Bodies>,
    ) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + 'static> + use<> {
        let peer = Arc::new(peer);
        let router = self.router.clone();
        let activity = Arc::clone(activity);
        service_fn(move |request: Request<Incoming>| {
            let length = request.body().size_hint().exact();
            if let Some(bodies) = &bodies {
                bodies.lengths.parsed(length);
            }
            let last = length.is_none() && request.version() <= Version::HTTP_11;
            let waits = request.headers().contains_key(EXPECT);
            let exchange = activity.begin();
            let (parts, body) = request.into_parts();
            let (body, rest) = exchange.request_body(body);
            let mut request = Request::from_parts(parts, Body::new(body));
            request.extensions_mut().insert(Peer::clone(&peer));
            request.extensions_mut().insert(LongPoll::new(Arc::<Activity>::clone(&activity)));
            let answer = router.clone().oneshot(request);
            let bodies = bodies.clone();
            async move {
                let mut response: Response = answer.await?;
                if let Some(bodies) = bodies {
                    // Reading would make a client that waits for `100 Continue` send the body.
                    let unread = rest.is_some() && (last || waits || !rest.skip().await);
                    if unread {
                        bodies.unread.set();
                    }
                    // The next head is read without knowing where a body of unknown length ended.
                    if last || unread {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                }
                Ok::<_, Infallible>(response.map(|body| Body::new(exchange.response_body(body))))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::super::slots::{ConnectionLimits, Slots};
    use super::*;

    const KIB: usize = 1024;

    /// Lets all tasks and the network do what they can.
    async fn settle() {
        for _ in 0..2_000 {
            tokio::task::yield_now().await;
        }
    }

    /// Returns connections whose responses have `length` bytes, and the only slot.
    async fn only(length: usize) -> (Connections, Peer, Arc<Slots>, Slot) {
        let limits = ConnectionLimits { total: 1, of_one_address: 1, count_private_addresses: false };
        let clock = Clock::manual(0);
        let slots = Slots::new(limits, clock.clone());
        let router = Router::new().fallback(async move || vec![b'x'; length]);
        let connections = Connections { router, tls: None, clock, shutdown: Shutdown::default() };
        let peer = Peer { address: None, tls: false, x_forwarded: false, request_id_header: None, site: "test".into() };
        let slot = slots.admit(None).await.unwrap();
        (connections, peer, slots, slot)
    }

    /// Sends a request over the only connection, and reads the response once the connection has to make room.
    async fn answer_while_leaving(length: usize) -> Vec<u8> {
        let (connections, peer, slots, slot) = only(length).await;
        let (near, mut far) = UnixStream::pair().unwrap();
        tokio::spawn(connections.serve(near, peer, slot));
        far.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        settle().await;
        let next = tokio::spawn(async move { slots.admit(None).await.is_some() });
        settle().await;
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        assert!(next.await.unwrap(), "there is room once all is sent");
        answer
    }

    #[tokio::test]
    async fn a_connection_that_makes_room_sends_the_rest_first() {
        // In some of these the end of the answer waits for the system, whose own buffer is of unknown size.
        for length in (16..640).step_by(16).map(|kib| kib * KIB) {
            let answer = answer_while_leaving(length).await;
            assert!(answer.len() > length, "{} of {length}", answer.len());
        }
    }

    #[tokio::test]
    async fn streams_of_who_makes_room_are_sent_whole() {
        const STREAMS: usize = 20;
        const LENGTH: usize = 60 * KIB;
        let frame = |kind: u8, flags: u8, stream: usize, payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            let stream = u32::try_from(stream).unwrap().to_be_bytes();
            [&length[1..], &[kind, flags], &stream, payload].concat()
        };
        let (connections, peer, slots, slot) = only(LENGTH).await;
        let clock = connections.clock.clone();
        let activity = Activity::new(slot, clock.clone());
        let (near, mut far) = UnixStream::pair().unwrap();
        tokio::spawn(async move { connections.serve_http2(near, peer, &activity).await });
        let mut asking = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // SETTINGS, and a WINDOW_UPDATE that allows all answers to be sent at once.
        asking.extend(frame(4, 0, 0, &[]));
        asking.extend(frame(8, 0, 0, &(16_u32 << 20).to_be_bytes()));
        for number in 0..STREAMS {
            // HEADERS: :method GET, :scheme https, :path /, :authority a
            asking.extend(frame(1, 5, 2 * number + 1, &[0x82, 0x87, 0x84, 0x01, 0x01, b'a']));
        }
        far.write_all(&asking).await.unwrap();
        settle().await;
        let next = tokio::spawn(async move { slots.admit(None).await.is_some() });
        settle().await;
        let (mut data, mut whole) = (0, 0);
        while whole < STREAMS {
            let mut head = [0; 9];
            far.read_exact(&mut head).await.expect("the answers go on");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            far.read_exact(&mut payload).await.unwrap();
            if head[3] == 0 {
                data += payload.len();
                whole += usize::from(head[4] & 1);
            }
        }
        assert_eq!(data, STREAMS * LENGTH);
        settle().await;
        // Nobody answers the PING with which hyper finds out that no further request is on its way.
        clock.advance(LEAVING_TIMEOUT);
        assert!(next.await.unwrap());
    }
}
