//! A request and its response on their way through a connection, and whether they make progress.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use plexus_base::long_poll::PolledConnection;
use plexus_base::{Clock, Shutdown};

use super::pieces::PiecedBody;
use super::slots::Slot;
use super::stall::{Timer, timer};

/// How long a request's body may take to bring [`LEAST_PROGRESS_BYTES`].
pub(super) const READ_STALL: Duration = Duration::from_secs(30);
/// The least progress of a request's body: a phone with a bad connection sends more in 30 s, and a client that sends
/// byte by byte only means to hold the connection.
const LEAST_PROGRESS_BYTES: usize = 1024;
/// How long a client may read nothing of any response on an HTTP/2 connection, where it can keep the connection moving
/// without reading (flow control): twice the time of HTTP/1, because clients allow more only when half of what they
/// allowed has arrived.
pub(super) const STREAM_STALL: Duration = Duration::from_secs(60);
/// How much of a body is read, in bytes, if the request was answered without it, so that the connection can serve the
/// next request: as much as a client may send that has not logged in. Sending the request again on a new connection
/// would cost more.
const MAX_SKIPPED_BYTES: u64 = 64 * 1024;
/// How long that may take; the response waits for it. Small bodies come together with their heads.
const SKIP_TIMEOUT: Duration = Duration::from_millis(100);

/// The requests in progress on a connection. Owned by the connection's task; each of its exchanges has a part in it.
#[derive(Debug)]
pub(super) struct Activity {
    slot: Slot,
    clock: Clock,
    /// The number of requests so far.
    requests: AtomicU64,
    /// The number of responses of which hyper has a piece, and has not asked for the next.
    unread: AtomicU32,
    /// When a piece of a response was last asked for, in ms of the monotonic clock.
    last_read_ms: AtomicU64,
    /// Whether a handler has read the body of the last request to its end, whose length may have been unknown.
    has_whole_body: AtomicBool,
    /// Woken when no request is being handled any more, or the request begins to wait for an event.
    reader: Mutex<Option<Waker>>,
}

impl Activity {
    /// Creates the state of a connection that has had no request yet.
    pub(super) fn new(slot: Slot, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            slot,
            clock,
            requests: AtomicU64::new(0),
            unread: AtomicU32::new(0),
            last_read_ms: AtomicU64::new(0),
            has_whole_body: AtomicBool::new(false),
            reader: Mutex::default(),
        })
    }

    /// Returns the connection's slot.
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Whether a request has come.
    pub(super) fn has_had_request(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Whether a request of which all has come is being handled, and does not wait for an event. `reader` is woken when
    /// this ends. For HTTP/1, where requests come one after the other; `is_whole` says that all of the last has come.
    pub(super) fn is_handling(&self, is_whole: bool, reader: &Waker) -> bool {
        *self.reader.lock() = Some(reader.clone());
        (is_whole || self.has_whole_body.load(Ordering::Acquire)) && self.slot.is_handling()
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.lock().take() {
            reader.wake();
        }
    }

    /// Waits until the client has read nothing of any response for [`STREAM_STALL`] although there is one to read.
    pub(super) async fn streams_stall(&self) {
        loop {
            let since_read = self.now_ms().saturating_sub(self.last_read_ms.load(Ordering::Relaxed));
            let left = STREAM_STALL.saturating_sub(Duration::from_millis(since_read));
            let unread = self.unread.load(Ordering::Relaxed) > 0;
            if unread && left.is_zero() {
                return;
            }
            self.clock.sleep(if unread { left } else { STREAM_STALL / 4 }).await;
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    /// Begins a request; it is in progress until the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.has_whole_body.store(false, Ordering::Release);
        self.slot.begin_request();
        Exchange { activity: Arc::clone(self), unread: false }
    }
}

impl PolledConnection for Activity {
    fn begin_wait(&self) -> Shutdown {
        let end = self.slot.begin_wait();
        self.wake_reader();
        end
    }

    fn end_wait(&self) {
        self.slot.end_wait();
    }
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    /// Whether it is the client's turn to read.
    unread: bool,
}

impl Exchange {
    fn set_unread(&mut self, unread: bool) {
        match (self.unread, unread) {
            (false, true) => self.activity.unread.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.activity.unread.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.unread = unread;
    }

    fn note_read(&self) {
        self.activity.last_read_ms.store(self.activity.now_ms(), Ordering::Relaxed);
    }

    /// Returns the request's body, which fails when it stops arriving, and the part that the handler will leave unread.
    pub(super) fn request_body(&self, body: Incoming) -> (RequestBody, UnreadBody) {
        let activity = Arc::clone(&self.activity);
        let unread = UnreadBody { body: Arc::default(), clock: activity.clock.clone() };
        let rest = Arc::clone(&unread.body);
        (RequestBody { body: Some(body), rest, activity, waiting: None, arrived: 0 }, unread)
    }

    /// Returns the response's body; the exchange ends with it.
    pub(super) fn response_body(mut self, body: Body) -> ResponseBody {
        self.note_read();
        self.set_unread(true);
        ResponseBody { body: PiecedBody::new(body), exchange: self }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.set_unread(false);
        self.activity.slot.end_request();
        self.activity.wake_reader();
    }
}

/// The part of a request's body that was not read when the request was answered.
#[derive(Debug)]
pub(super) struct UnreadBody {
    body: Arc<Mutex<Option<Incoming>>>,
    clock: Clock,
}

impl UnreadBody {
    /// Whether there is such a part.
    pub(super) fn is_some(&self) -> bool {
        self.body.lock().is_some()
    }

    /// Reads and drops the rest, if it is little and comes soon. Returns whether the next request can follow.
    pub(super) async fn skip(&self) -> bool {
        let Some(mut body) = self.body.lock().take() else { return true };
        if body.size_hint().upper().is_none_or(|left| left > MAX_SKIPPED_BYTES) {
            return false;
        }
        let skipped = async {
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                if frame.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::select! {
            biased;
            skipped = skipped => skipped,
            () = self.clock.sleep(SKIP_TIMEOUT) => false,
        }
    }
}

/// See [`Exchange::request_body`].
pub(super) struct RequestBody {
    /// `None` once it has ended.
    body: Option<Incoming>,
    /// Takes the rest when nobody reads on.
    rest: Arc<Mutex<Option<Incoming>>>,
    activity: Arc<Activity>,
    /// Runs while not enough has arrived.
    waiting: Option<Timer>,
    /// Bytes since then.
    arrived: usize,
}

/// The client stopped sending.
#[derive(Debug, thiserror::Error)]
#[error("the request's body stopped coming in")]
struct BodyStalled;

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
            if frame.is_none() || body.is_end_stream() {
                this.activity.has_whole_body.store(true, Ordering::Release);
            }
            if frame.is_none() {
                this.body = None;
            }
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            this.arrived = this.arrived.saturating_add(data.map_or(0, Bytes::len));
            if this.arrived >= LEAST_PROGRESS_BYTES {
                this.waiting = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if this.waiting.is_none() {
            this.arrived = 0;
        }
        let waiting = this.waiting.get_or_insert_with(|| timer(&this.activity.clock, READ_STALL));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyStalled.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        *self.rest.lock() = rest;
    }
}

/// See [`Exchange::response_body`].
pub(super) struct ResponseBody {
    body: PiecedBody,
    exchange: Exchange,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.exchange.note_read();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        this.exchange.set_unread(frame.is_ready());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
