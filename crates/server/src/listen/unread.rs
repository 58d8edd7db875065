//! How many bytes of responses may be in memory that clients have not read yet, and how slowly they may be read.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_http::auth::LoggedUser;
use plexus_http::body::{BudgetSize, ByteBudget, HeldBytes, Sender};
use plexus_http::{ApiError, peer};

use super::pieces::{PIECE_BYTES, PiecedBody};

const MIB: usize = 1024 * 1024;

/// The budget of the process, and the share of one address and of one user. Responses that are written while they are
/// sent count nothing: little of them is in memory.
const UNREAD: BudgetSize = BudgetSize { small: 64 * MIB, small_share: 16 * MIB, large: 256 * MIB, share: 64 * MIB };

/// A larger response counts as this much, so that there is no size that cannot be sent: the first sync of a large
/// account may be one.
const MAX_COUNTED_BYTES: usize = 32 * MIB;

/// The bytes of responses that wait for room in the budget, and the share of one address and of one user. They are in
/// memory while they wait, so that all of them count; beyond this a response is refused at once.
const WAITING: BudgetSize = BudgetSize { small: 16 * MIB, small_share: 4 * MIB, large: 64 * MIB, share: 16 * MIB };

/// When a client may ask again whose response was refused, in ms: by then others have read theirs.
const RETRY_AFTER_MS: u64 = 10_000;

/// The least rate at which a large response must be read on average, after [`GRACE`]; below that it is dropped once the
/// next one needs memory. A phone with a bad connection reads more than twice as fast.
const LEAST_BYTES_PER_SECOND: u64 = 4 * 1024;
/// How far behind that rate a reader may be: a train in a tunnel.
const GRACE: Duration = Duration::from_secs(120);

/// The responses that clients have not read yet. A process has one.
pub(super) struct UnreadResponses {
    budget: Arc<ByteBudget>,
    /// The bytes of responses that wait for room.
    waiting: Arc<ByteBudget>,
    clock: Clock,
    /// The large ones, by when they must have been read further (monotonic time), and their numbers.
    due: Mutex<BTreeMap<(Duration, u64), Weak<Watched>>>,
    next: AtomicU64,
}

/// A large response; `None` once it was dropped.
type Watched = Mutex<Option<Unread>>;

/// What is left of a large response.
struct Unread {
    body: PiecedBody,
    /// When the response was made, on the monotonic clock.
    began: Duration,
    /// How many bytes have been handed on.
    read: u64,
    /// Under which time it is in [`UnreadResponses::due`].
    due: Duration,
    _held: HeldBytes,
}

/// The client reads too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the response was read too slowly")]
struct TooSlow;

impl UnreadResponses {
    /// Counts nothing yet.
    pub(super) fn new(clock: &Clock) -> Arc<Self> {
        Self::of_size(UNREAD, clock)
    }

    fn of_size(size: BudgetSize, clock: &Clock) -> Arc<Self> {
        let (due, next) = (Mutex::default(), AtomicU64::default());
        let (budget, waiting) = (ByteBudget::new(size, clock.clone()), ByteBudget::new(WAITING, clock.clone()));
        Arc::new(Self { budget, waiting, clock: clock.clone(), due, next })
    }

    /// Drops the large responses that are read too slowly.
    fn drop_slow(&self) {
        let now = self.clock.monotonic();
        let mut slow = Vec::new();
        {
            let mut all = self.due.lock();
            while let Some(first) = all.first_entry()
                && first.key().0 < now
            {
                let ((_, number), response) = first.remove_entry();
                let Some(shared) = response.upgrade() else { continue };
                let mut unread = shared.lock();
                let Some(left) = unread.as_mut() else { continue };
                left.due = left.began + GRACE + Duration::from_secs(left.read / LEAST_BYTES_PER_SECOND);
                if left.due < now {
                    slow.extend(unread.take());
                } else {
                    all.insert((left.due, number), response);
                }
            }
        }
        if !slow.is_empty() {
            tracing::info!("{} responses are dropped: their clients read too slowly", slow.len());
        }
    }

    /// Takes the bytes of a response to `senders`, waiting a little for others to make room.
    ///
    /// # Errors
    /// `M_LIMIT_EXCEEDED` when there is no room, too much waits for it, or the client holds its share already.
    async fn hold(&self, senders: Vec<Sender>, bytes: usize) -> Result<HeldBytes, ApiError> {
        let count_in = |budget: &Arc<ByteBudget>| {
            let mut held = budget.hold(Sender::Unknown(None));
            senders.iter().for_each(|sender| held.count_for(sender.clone()));
            held
        };
        let (mut held, counted) = (count_in(&self.budget), bytes.min(MAX_COUNTED_BYTES));
        if self.budget.has_room(counted) {
            held.grow(counted).await?;
            return Ok(held);
        }
        self.drop_slow();
        let mut waiting = count_in(&self.waiting);
        tokio::select! {
            biased;
            grown = waiting.grow(bytes) => grown?,
            () = std::future::ready(()) => return Err(ApiError::limit_exceeded(RETRY_AFTER_MS)),
        }
        held.grow(counted).await?;
        Ok(held)
    }

    /// Returns the body of a large response that is dropped if it is read too slowly.
    fn watch(self: &Arc<Self>, body: Body, held: HeldBytes) -> WatchedBody {
        let began = self.clock.monotonic();
        let due = began + GRACE;
        let unread = Unread { body: PiecedBody::new(body), began, read: 0, due, _held: held };
        let unread = Arc::new(Mutex::new(Some(unread)));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.due.lock().insert((due, number), Arc::downgrade(&unread));
        WatchedBody { unread, number, all: Arc::clone(self) }
    }
}

/// Counts a response from when it is made until it has been sent. In place of one for which there is no room the client
/// gets `M_LIMIT_EXCEEDED`.
pub(super) async fn count(State(all): State<Arc<UnreadResponses>>, request: Request, next: Next) -> Response {
    let mut senders = vec![Sender::Unknown(peer::source(request.extensions(), request.headers()))];
    let logged = request.extensions().get::<LoggedUser>().cloned();
    let response = next.run(request).await;
    let bytes = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
    senders.extend(logged.as_ref().and_then(LoggedUser::get).cloned().map(Sender::User));
    let is_large = bytes > PIECE_BYTES;
    match all.hold(senders, bytes).await {
        Ok(held) if is_large => response.map(|body| Body::new(all.watch(body, held))),
        Ok(held) => response.map(|body| Body::new(CountedBody { body, _held: held })),
        Err(error) => error.into_response(),
    }
}

/// A response's body, and its part of the budget.
struct CountedBody {
    body: Body,
    _held: HeldBytes,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// See [`UnreadResponses::watch`].
struct WatchedBody {
    unread: Arc<Watched>,
    number: u64,
    all: Arc<UnreadResponses>,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self.unread.lock() {
            Some(unread) => unread.poll_frame(cx),
            None => Poll::Ready(Some(Err(axum::Error::new(TooSlow)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.unread.lock().as_ref().is_some_and(|unread| unread.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.unread.lock().as_ref().map_or_else(SizeHint::default, |unread| unread.body.size_hint())
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        let due = self.unread.lock().as_ref().map(|unread| unread.due);
        if let Some(due) = due {
            self.all.due.lock().remove(&(due, self.number));
        }
    }
}

impl Unread {
    /// Returns the next frame of the body: a copy, so that the response can be dropped while the frame is being sent.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|data| {
                    self.read = self.read.saturating_add(data.len() as u64);
                    Bytes::copy_from_slice(&data)
                })
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::Router;
    use futures_util::FutureExt as _;
    use plexus_http::Peer;
    use plexus_protocol::id::UserId;
    use tower::ServiceExt as _;

    use super::*;

    fn router(all: &Arc<UnreadResponses>, length: usize) -> Router {
        let count = axum::middleware::from_fn_with_state(Arc::clone(all), count);
        Router::new().fallback(async move || vec![b'x'; length]).layer(count)
    }

    async fn ask(router: &Router, address: &str) -> Response {
        let address: IpAddr = address.parse().unwrap();
        let peer = Peer {
            address: Some(address),
            tls: false,
            x_forwarded: false,
            request_id_header: None,
            site: "test".into(),
        };
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn unread_responses_of_one_address_are_bounded() {
        let all = UnreadResponses::new(&Clock::manual(0));
        let router = router(&all, 4 * MIB);
        let budget = &all.budget;
        let mut unread = Vec::new();
        for _ in 0..16 {
            unread.push(ask(&router, "192.0.2.1").await);
        }
        assert!(unread.iter().all(|response| response.status() == 200));
        assert!(budget.held() <= 64 * MIB);
        assert_eq!(ask(&router, "192.0.2.1").await.status(), 429);
        assert_eq!(ask(&router, "198.51.100.1").await.status(), 200, "another address is not concerned");
        unread.clear();
        assert_eq!(budget.held(), 0);
        assert_eq!(ask(&router, "192.0.2.1").await.status(), 200);
    }

    #[tokio::test]
    async fn a_response_of_any_size_can_be_sent() {
        let router = router(&UnreadResponses::new(&Clock::manual(0)), 80 * MIB);
        let response = ask(&router, "192.0.2.1").await;
        assert_eq!((response.status().as_u16(), response.body().size_hint().exact()), (200, Some(80 * MIB as u64)));
        assert_eq!(axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().len(), 80 * MIB);
    }

    #[tokio::test]
    async fn unread_responses_of_one_user_are_bounded_whatever_the_addresses() {
        let all = UnreadResponses::new(&Clock::manual(0));
        let count = axum::middleware::from_fn_with_state(Arc::clone(&all), count);
        let whoami = async |request: Request| {
            let user = if request.uri().path() == "/a" { "@a:b.example" } else { "@c:b.example" };
            request.extensions().get::<LoggedUser>().unwrap().set(&UserId::try_from(user).unwrap());
            vec![b'x'; 4 * MIB]
        };
        let router = Router::new().fallback(whoami).layer(count);
        let of = async |user: &str| {
            let request = Request::builder().uri(user).extension(LoggedUser::default());
            router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
        };
        let mut unread = Vec::new();
        for _ in 0..16 {
            unread.push(of("/a").await);
        }
        assert!(unread.iter().all(|response| response.status() == 200));
        assert_eq!(of("/a").await.status(), 429);
        assert_eq!(of("/c").await.status(), 200, "another user is not concerned");
    }

    /// A budget for two responses of 4 MiB.
    const TWO: BudgetSize = BudgetSize { small: MIB, small_share: MIB, large: 8 * MIB, share: 8 * MIB };

    /// Returns the next piece of a body.
    async fn piece(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(frame.map(|frame| frame.into_data().unwrap()))
    }

    /// Reads `pieces` of a body every 10 s, while others need memory. Returns how many bytes came.
    async fn read_slowly(pieces: usize) -> Result<usize, axum::Error> {
        let clock = Clock::manual(0);
        let all = UnreadResponses::of_size(TWO, &clock);
        let router = router(&all, 4 * MIB);
        let mut body = ask(&router, "192.0.2.1").await.into_body();
        let mut read = 0;
        loop {
            for _ in 0..pieces {
                let Some(piece) = piece(&mut body).await else { return Ok(read) };
                read += piece?.len();
            }
            clock.advance(Duration::from_secs(10));
            all.drop_slow();
        }
    }

    #[tokio::test]
    async fn the_slowest_reader_is_left_alone_while_there_is_room() {
        const THREE: BudgetSize = BudgetSize { large: 12 * MIB, ..TWO };
        let clock = Clock::manual(0);
        let all = UnreadResponses::of_size(THREE, &clock);
        let router = router(&all, 4 * MIB);
        let mut slow = ask(&router, "192.0.2.1").await.into_body();
        clock.advance(10 * GRACE);
        let second = ask(&router, "198.51.100.1").await;
        let third = ask(&router, "203.0.113.1").await;
        assert_eq!((second.status().as_u16(), third.status().as_u16()), (200, 200));
        assert!(piece(&mut slow).await.unwrap().is_ok());
        clock.advance(10 * GRACE);
        assert_eq!(ask(&router, "203.0.113.2").await.status(), 200);
        assert!(piece(&mut slow).await.unwrap().is_err(), "the next one needs its memory");
    }

    #[tokio::test]
    async fn responses_that_wait_for_room_are_bounded() {
        let clock = Clock::manual(0);
        let all = UnreadResponses::of_size(TWO, &clock);
        let router = router(&all, 4 * MIB);
        let mut unread = Vec::new();
        for last in 0..2 {
            unread.push(ask(&router, &format!("192.0.2.{last}")).await);
        }
        let addresses: Vec<String> = (0..20).map(|last| format!("198.51.100.{last}")).collect();
        let mut waiting: Vec<_> = addresses.iter().map(|address| Box::pin(ask(&router, address))).collect();
        let refused = waiting.iter_mut().filter_map(|ask| ask.as_mut().now_or_never());
        let refused: Vec<u16> = refused.map(|response| response.status().as_u16()).collect();
        assert_eq!(refused, [429; 4], "sixteen wait in 64 MiB");
        unread.clear();
    }

    #[tokio::test]
    async fn responses_of_one_address_that_wait_leave_room_for_others() {
        const TWO_FOR_ALL: BudgetSize = BudgetSize { share: 64 * MIB, ..TWO };
        let all = UnreadResponses::of_size(TWO_FOR_ALL, &Clock::manual(0));
        let router_of_4_mib = router(&all, 4 * MIB);
        let mut unread = Vec::new();
        for last in 0..2 {
            unread.push(ask(&router_of_4_mib, &format!("192.0.2.{last}")).await);
        }
        let mut greedy: Vec<_> = (0..6).map(|_| Box::pin(ask(&router_of_4_mib, "203.0.113.1"))).collect();
        let refused = greedy.iter_mut().filter_map(|ask| ask.as_mut().now_or_never()).count();
        assert_eq!(refused, 2, "four wait in 16 MiB");
        assert!(ask(&router_of_4_mib, "198.51.100.1").now_or_never().is_none(), "another address may wait");
        // All bytes of one that waits are in memory.
        let router_of_17_mib = router(&all, 17 * MIB);
        assert_eq!(ask(&router_of_17_mib, "198.51.100.2").await.status(), 429);
    }

    #[tokio::test]
    async fn a_slow_reader_gets_everything_and_a_slower_one_does_not() {
        // 6.4 KiB/s, and twice that.
        assert_eq!(read_slowly(1).await.unwrap(), 4 * MIB);
        assert_eq!(read_slowly(2).await.unwrap(), 4 * MIB);
        let clock = Clock::manual(0);
        let all = UnreadResponses::of_size(TWO, &clock);
        let router = router(&all, 4 * MIB);
        let mut slow = [ask(&router, "192.0.2.1").await.into_body(), ask(&router, "192.0.2.2").await.into_body()];
        let mut read = 0;
        while clock.monotonic() <= GRACE {
            clock.advance(Duration::from_secs(30));
            read += piece(&mut slow[0]).await.unwrap().unwrap().len();
        }
        assert_eq!((read, all.budget.held()), (5 * PIECE_BYTES, 8 * MIB));
        // The one that has read something may go on for a moment, the other one makes room.
        assert_eq!(ask(&router, "198.51.100.1").await.status(), 200);
        assert!(piece(&mut slow[0]).await.unwrap().is_ok());
        assert!(piece(&mut slow[1]).await.unwrap().is_err());
        let other = ask(&router, "198.51.100.1").await;
        clock.advance(GRACE);
        assert_eq!(ask(&router, "198.51.100.2").await.status(), 200);
        assert!(piece(&mut slow[0]).await.unwrap().is_err());
        drop((slow, other));
        assert_eq!((all.budget.held(), all.due.lock().len()), (0, 0));
    }
}
