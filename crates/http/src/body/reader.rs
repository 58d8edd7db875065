//! Reading bodies, within the limits of the route, the sender and the memory. A process has one [`BodyReader`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt as _;
use plexus_base::Clock;
use plexus_protocol::id::ServerName;
use tokio::sync::Semaphore;

use super::budget::{BudgetSize, ByteBudget, HeldBytes, Sender};
use crate::auth::Authenticated;
use crate::{ApiError, peer};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The largest body, in bytes, of a client that has shown neither a token nor a signature, whatever the route allows.
pub const MAX_UNKNOWN_BYTES: usize = 64 * KIB;

/// The budget for bodies whose sender is not known: those of signed requests whose signature is not checked yet, and
/// those of endpoints that need no login. 512 small ones at once, 64 of them of one sender, and four transactions of
/// the largest size, one of them of one sender.
const UNVERIFIED: BudgetSize = BudgetSize { small: 32 * MIB, small_share: 4 * MIB, large: 64 * MIB, share: 16 * MIB };

/// The budget for bodies of users and of servers whose signature was right, until the handler has parsed them or is
/// done. The share of one sender holds two of the largest size.
const VERIFIED: BudgetSize = BudgetSize { small: 64 * MIB, small_share: 8 * MIB, large: 128 * MIB, share: 32 * MIB };

/// How long the whole of a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Within each window of this length a body must make progress by [`MIN_PROGRESS_BYTES`], once that much of it has
/// come: a body that holds memory may not trickle. A phone on the slowest of networks is faster. A smaller body has the
/// whole of [`BODY_TIMEOUT`]: a single lost packet may delay it by more than a window.
const PROGRESS_WINDOW: Duration = Duration::from_secs(10);
const MIN_PROGRESS_BYTES: usize = 10 * KIB;

/// How much more of an oversized body is read and dropped before the response, so that a client which is still sending
/// can read the response instead of a reset connection.
const MAX_DRAINED_BYTES: usize = 32 * MIB;

/// Bodies up to this size are parsed on the threads that serve requests; larger ones elsewhere, because that takes
/// milliseconds.
const MAX_INLINE_BYTES: usize = 256 * KIB;

/// How many large bodies are parsed at once: a parsed body takes many times the memory of its text.
const LARGE_AT_ONCE: usize = 2;

/// Reads bodies, for all APIs of the process.
#[derive(Debug)]
pub struct BodyReader {
    clock: Clock,
    unverified: Arc<ByteBudget>,
    verified: Arc<ByteBudget>,
    large_at_once: Arc<Semaphore>,
}

/// How a route's bodies are read; among the extensions of each of its requests.
#[derive(Debug, Clone)]
pub(crate) struct BodyRule {
    /// Bytes.
    pub(crate) limit: usize,
    pub(crate) body_reader: Arc<BodyReader>,
}

/// A body that was read before the handler began; among the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct BodyRead(pub(crate) Bytes);

/// A body in memory, and its part of the budget.
#[derive(Debug)]
pub struct WholeBody {
    /// The body.
    pub bytes: Bytes,
    body_reader: Arc<BodyReader>,
    held: Option<HeldBytes>,
}

impl WholeBody {
    pub(crate) fn body_reader(&self) -> Arc<BodyReader> {
        Arc::clone(&self.body_reader)
    }

    /// Returns the result of `work` on the body, done off the threads that answer requests if it is large. The bytes
    /// count as held until then.
    pub(crate) async fn work_on<R: Send + 'static>(
        self,
        work: impl FnOnce(&[u8]) -> R + Send + 'static,
    ) -> Result<R, ApiError> {
        if self.bytes.len() <= MAX_INLINE_BYTES {
            return Ok(work(&self.bytes));
        }
        // Nobody closes the semaphore.
        let turn = Arc::clone(&self.body_reader.large_at_once).acquire_owned().await.ok();
        let (bytes, held) = (self.bytes, self.held);
        // The work goes on, and keeps its turn, even if nobody waits for it any longer.
        let work = tokio::task::spawn_blocking(move || {
            let result = work(&bytes);
            drop((bytes, held, turn));
            result
        });
        work.await.map_err(|error| ApiError::internal(&error))
    }
}

impl BodyReader {
    /// Creates a reader with the budgets of this program.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            unverified: ByteBudget::new(UNVERIFIED, clock.clone()),
            verified: ByteBudget::new(VERIFIED, clock.clone()),
            large_at_once: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            clock,
        })
    }

    /// Returns how many bytes are in memory of bodies whose sender is not known.
    pub fn unverified_bytes(&self) -> usize {
        self.unverified.held()
    }

    /// Counts `bytes` of a body as held by a server whose signature was right.
    pub(crate) async fn hold_for(&self, server: &ServerName, bytes: usize) -> Result<HeldBytes, ApiError> {
        let mut held = self.verified.hold(Sender::Server(server.clone()));
        held.grow(bytes).await?;
        Ok(held)
    }
}

/// Reads the body whole: at most as many bytes as the route allows, and at most [`MAX_UNKNOWN_BYTES`] of whoever has
/// shown no token.
///
/// # Errors
/// `M_TOO_LARGE`; `M_LIMIT_EXCEEDED` when too many bodies are in memory; 408 when it does not arrive in time.
pub async fn read(mut request: Request) -> Result<WholeBody, ApiError> {
    let BodyRule { limit, body_reader } = rule(&request)?;
    if let Some(BodyRead(bytes)) = request.extensions_mut().remove() {
        return Ok(WholeBody { bytes, body_reader, held: None });
    }
    match request.extensions().get::<Authenticated>() {
        Some(Authenticated(user)) => {
            let held = body_reader.verified.hold(Sender::User(user.clone()));
            read_within(request, limit, body_reader, held).await
        }
        None => read_unverified(request, limit.min(MAX_UNKNOWN_BYTES), body_reader).await,
    }
}

/// Reads the body of a request whose signature is still to be checked with it: as many bytes as the route allows.
pub(crate) async fn read_signed(request: Request) -> Result<WholeBody, ApiError> {
    let BodyRule { limit, body_reader } = rule(&request)?;
    read_unverified(request, limit, body_reader).await
}

async fn read_unverified(request: Request, limit: usize, body_reader: Arc<BodyReader>) -> Result<WholeBody, ApiError> {
    let source = peer::source(request.extensions(), request.headers());
    let held = body_reader.unverified.hold(Sender::Unknown(source));
    read_within(request, limit, body_reader, held).await
}

fn rule(request: &Request) -> Result<BodyRule, ApiError> {
    request.extensions().get::<BodyRule>().cloned().ok_or_else(|| {
        tracing::error!("{} is not built by Routes: nothing says how large its bodies may be", request.uri().path());
        ApiError::internal_silent()
    })
}

async fn read_within(
    request: Request,
    limit: usize,
    body_reader: Arc<BodyReader>,
    mut held: HeldBytes,
) -> Result<WholeBody, ApiError> {
    let clock = body_reader.clock.clone();
    let reading = collect(request, limit, &mut held, &clock);
    let whole = tokio::select! {
        biased;
        whole = reading => whole?,
        () = clock.sleep(BODY_TIMEOUT) => return Err(too_slow()),
    };
    Ok(WholeBody { bytes: whole.into(), body_reader, held: Some(held) })
}

async fn collect(request: Request, limit: usize, held: &mut HeldBytes, clock: &Clock) -> Result<Vec<u8>, ApiError> {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let announced = length.unwrap_or(0);
    let waits = request.headers().contains_key(EXPECT);
    let mut body = request.into_body();
    if announced > limit {
        // A client that waits for `100 Continue` reads the response anyway.
        return Err(if waits { oversized() } else { drained(body, announced, clock).await });
    }
    let mut whole = Vec::new();
    let mut pace = Pace::new(clock);
    while let Some(data) = pace.next(&mut body).await? {
        if whole.len() + data.len() > limit {
            // Its length is not announced, so that nobody knows whether the rest ever comes: the response does not
            // wait. The connection is closed in a way that lets the client read it.
            return Err(oversized());
        }
        let before = clock.monotonic();
        held.grow(data.len()).await?;
        pace.pause(before);
        append(&mut whole, &data, length.unwrap_or(limit));
        pace.restart_if_done();
    }
    Ok(whole)
}

/// Appends, reserving twice as much but never more than the `most` bytes that there will be.
fn append(whole: &mut Vec<u8>, data: &[u8], most: usize) {
    let needed = whole.len() + data.len();
    if needed > whole.capacity() {
        let room = (2 * whole.capacity()).min(most).max(needed);
        whole.reserve_exact(room - whole.len());
    }
    whole.extend_from_slice(data);
}

/// Reads what is left of an oversized body and drops it, within [`BODY_TIMEOUT`] of the whole request.
async fn drained(mut body: Body, expected: usize, clock: &Clock) -> ApiError {
    let mut pace = Pace::new(clock);
    let mut seen = 0_usize;
    while expected <= MAX_DRAINED_BYTES && seen <= MAX_DRAINED_BYTES {
        match pace.next(&mut body).await {
            Ok(Some(data)) => seen += data.len(),
            Ok(None) | Err(_) => break,
        }
        pace.restart_if_done();
    }
    oversized()
}

/// How fast a body arrives.
struct Pace<'a> {
    clock: &'a Clock,
    /// When the present window began; `None` while no more than [`MIN_PROGRESS_BYTES`] have come in all.
    since: Option<Duration>,
    /// Bytes since then.
    bytes: usize,
}

impl<'a> Pace<'a> {
    fn new(clock: &'a Clock) -> Self {
        Self { clock, since: None, bytes: 0 }
    }

    /// Returns the next piece of the body; 408 when too little came in the present window.
    async fn next(&mut self, body: &mut Body) -> Result<Option<Bytes>, ApiError> {
        let (clock, since) = (self.clock, self.since);
        let window = async move {
            let Some(since) = since else { return std::future::pending().await };
            clock.sleep(PROGRESS_WINDOW.saturating_sub(clock.monotonic().saturating_sub(since))).await;
        };
        tokio::pin!(window);
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = &mut window => return Err(too_slow()),
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|_| ApiError::unknown("The request's body broke off"))?;
            if let Ok(data) = frame.into_data() {
                self.bytes += data.len();
                return Ok(Some(data));
            }
        }
    }

    /// The last piece has been dealt with. Begins a new window when enough has come in this one.
    fn restart_if_done(&mut self) {
        if self.bytes >= MIN_PROGRESS_BYTES {
            (self.since, self.bytes) = (Some(self.clock.monotonic()), 0);
        }
    }

    /// Moves the window on by the time since `before`, in which the body waited for memory.
    fn pause(&mut self, before: Duration) {
        let waited = self.clock.monotonic().saturating_sub(before);
        self.since = self.since.map(|since| since.saturating_add(waited));
    }
}

fn too_slow() -> ApiError {
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", "The request's body did not arrive in time")
}

fn oversized() -> ApiError {
    ApiError::too_large("The request's body is too large")
}

#[cfg(test)]
mod tests;
