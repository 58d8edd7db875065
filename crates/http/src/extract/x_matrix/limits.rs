//! How many requests other servers may make (`rc_federation`), as Synapse describes it: the requests of a server that
//! makes many are delayed, and refused when too many of them wait.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_base::config::FederationLimits;
use plexus_protocol::id::ServerName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ApiError;

/// At this number of servers, those that have made no request lately are forgotten.
const SWEEP_AT: usize = 1_000;

/// Counts the requests of other servers.
pub(super) struct OriginLimits {
    limits: FederationLimits,
    clock: Clock,
    origins: Mutex<HashMap<ServerName, Requests>>,
}

/// The requests of one server.
struct Requests {
    /// When they came, oldest first, within the window; at most as many as the limits look at.
    times: VecDeque<Duration>,
    /// How many are delayed, or wait for others of the server to be done.
    waiting: u32,
    at_once: Arc<Semaphore>,
}

/// Permission to handle a request, until dropped.
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A request that waits, until dropped.
struct Waiting<'a> {
    limits: &'a OriginLimits,
    origin: &'a ServerName,
}

impl OriginLimits {
    pub(super) fn new(limits: FederationLimits, clock: Clock) -> Self {
        Self { limits, clock, origins: Mutex::default() }
    }

    /// Refuses a request of `origin` if too many wait already. Does not count it.
    pub(super) fn check_room(&self, origin: &ServerName) -> Result<(), ApiError> {
        match self.origins.lock().get(origin) {
            Some(requests) if requests.waiting >= self.limits.reject_limit.max(1) => Err(self.refused()),
            _ => Ok(()),
        }
    }

    fn refused(&self) -> ApiError {
        ApiError::limit_exceeded(self.limits.window_size.max(1).into())
    }

    /// Waits until a request of `origin` may be handled. Transactions, of which a server sends one after the other, are
    /// not `delayed` however many there are: a busy server has much to send.
    pub(super) async fn turn(&self, origin: &ServerName, delayed: bool) -> Result<Turn, ApiError> {
        let (sleeps, at_once) = self.arrives(origin, delayed)?;
        let _waiting = Waiting { limits: self, origin };
        if sleeps {
            self.clock.sleep(Duration::from_millis(self.limits.sleep_delay.into())).await;
        }
        // Nobody closes the semaphore.
        Ok(Turn { _permit: at_once.acquire_owned().await.ok() })
    }

    /// Counts a request. Returns whether it has to be delayed. Refused when too many wait.
    fn arrives(&self, origin: &ServerName, delayed: bool) -> Result<(bool, Arc<Semaphore>), ApiError> {
        let now = self.clock.monotonic();
        let window = Duration::from_millis(self.limits.window_size.into());
        let mut origins = self.origins.lock();
        if origins.len() >= SWEEP_AT && !origins.contains_key(origin) {
            origins.retain(|_, requests| !requests.is_idle(now.saturating_sub(window)));
        }
        let requests = origins.entry(origin.clone()).or_insert_with(|| Requests {
            times: VecDeque::new(),
            waiting: 0,
            at_once: Arc::new(Semaphore::new((self.limits.concurrent as usize).clamp(1, Semaphore::MAX_PERMITS))),
        });
        if requests.waiting >= self.limits.reject_limit.max(1) {
            return Err(self.refused());
        }
        requests.forget_before(now.saturating_sub(window));
        let sleeps = delayed && requests.times.len() >= self.limits.sleep_limit as usize;
        if delayed && !sleeps {
            requests.times.push_back(now);
        }
        requests.waiting += 1;
        Ok((sleeps, Arc::clone(&requests.at_once)))
    }
}

impl Requests {
    fn forget_before(&mut self, moment: Duration) {
        while self.times.front().is_some_and(|time| *time < moment) {
            self.times.pop_front();
        }
    }

    fn is_idle(&self, before: Duration) -> bool {
        self.waiting == 0
            && Arc::strong_count(&self.at_once) == 1
            && self.times.back().is_none_or(|time| *time < before)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(requests) = self.limits.origins.lock().get_mut(self.origin) {
            requests.waiting = requests.waiting.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn limits(clock: &Clock) -> OriginLimits {
        let limits =
            FederationLimits { window_size: 1_000, sleep_limit: 2, sleep_delay: 500, reject_limit: 2, concurrent: 1 };
        OriginLimits::new(limits, clock.clone())
    }

    fn poll<F: Future<Output = Result<Turn, ApiError>>>(future: Pin<&mut F>) -> Option<Result<Turn, ApiError>> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    fn has_its_turn<F: Future<Output = Result<Turn, ApiError>>>(future: Pin<&mut F>) -> bool {
        poll(future).is_some_and(|turn| turn.is_ok())
    }

    #[test]
    fn frequent_requests_are_delayed_and_too_many_waiting_ones_refused() {
        let (clock, other) = (Clock::manual(0), "b.example".parse().unwrap());
        let (limits, server) = (limits(&clock), "a.example".parse().unwrap());
        assert!(has_its_turn(pin!(limits.turn(&server, true))));
        assert!(has_its_turn(pin!(limits.turn(&server, true))));
        let (mut third, mut fourth) = (pin!(limits.turn(&server, true)), pin!(limits.turn(&server, true)));
        assert!(poll(third.as_mut()).is_none() && poll(fourth.as_mut()).is_none());
        assert!(poll(pin!(limits.turn(&server, true))).is_some_and(|turn| turn.is_err()));
        assert!(has_its_turn(pin!(limits.turn(&other, true))), "others are not kept waiting");
        clock.advance(Duration::from_millis(499));
        assert!(poll(third.as_mut()).is_none());
        clock.advance(Duration::from_millis(1));
        assert!(has_its_turn(third.as_mut()) && has_its_turn(fourth.as_mut()));
        clock.advance(Duration::from_secs(2));
        assert!(has_its_turn(pin!(limits.turn(&server, true))));
    }

    #[test]
    fn requests_of_one_server_are_worked_on_few_at_a_time() {
        let clock = Clock::manual(0);
        let (limits, server) = (limits(&clock), "a.example".parse().unwrap());
        let first = poll(pin!(limits.turn(&server, false))).unwrap();
        let mut second = pin!(limits.turn(&server, false));
        assert!(poll(second.as_mut()).is_none());
        drop(first);
        assert!(has_its_turn(second.as_mut()));
        // Transactions are not delayed for being many.
        for _ in 0..100 {
            assert!(has_its_turn(pin!(limits.turn(&server, false))));
        }
    }

    #[test]
    fn a_dropped_request_does_not_count_any_longer() {
        let clock = Clock::manual(0);
        let (limits, server) = (limits(&clock), "a.example".parse().unwrap());
        let first = poll(pin!(limits.turn(&server, false))).unwrap();
        for _ in 0..10 {
            let mut one = Box::pin(limits.turn(&server, false));
            let mut two = Box::pin(limits.turn(&server, false));
            assert!(poll(one.as_mut()).is_none() && poll(two.as_mut()).is_none());
        }
        drop(first);
        assert!(has_its_turn(pin!(limits.turn(&server, false))));
    }

    #[test]
    fn silent_servers_are_forgotten() {
        let clock = Clock::manual(0);
        let limits = limits(&clock);
        for number in 0..SWEEP_AT * 3 {
            clock.advance(Duration::from_millis(10));
            let server = ServerName::try_from(format!("s{number}.example")).unwrap();
            assert!(has_its_turn(pin!(limits.turn(&server, true))));
        }
        assert!(limits.origins.lock().len() <= SWEEP_AT + 1);
    }

    #[test]
    fn a_server_is_not_forgotten_while_its_requests_count() {
        let clock = Clock::manual(0);
        let (limits, server) = (limits(&clock), "a.example".parse().unwrap());
        clock.advance(Duration::from_secs(2));
        assert!(has_its_turn(pin!(limits.turn(&server, true))));
        assert!(has_its_turn(pin!(limits.turn(&server, true))));
        for number in 0..=SWEEP_AT {
            let server = ServerName::try_from(format!("s{number}.example")).unwrap();
            assert!(has_its_turn(pin!(limits.turn(&server, true))));
        }
        assert!(poll(pin!(limits.turn(&server, true))).is_none());
    }
}
