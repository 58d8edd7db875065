//! Limits on the work for events with missing prev events: a server must not be able to delay others, or to fill
//! memory, by its responses or by not responding.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_protocol::id::ServerName;
use plexus_store::RoomNid;

use crate::peers::PeerResponse;
use plexus_rooms::PeerError;

/// How long it may take to process a batch of one server's events in one room.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a request may wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How many states of a room may be fetched from one server in a burst, and from all servers together.
const MAX_STATES_PER_SERVER: u32 = 10;
const MAX_STATES_PER_ROOM: u32 = 40;
/// After how long one more may be fetched.
const STATE_INTERVAL: Duration = Duration::from_secs(30);
/// From how many events on a state counts in full. A smaller one counts for less, but at least as one part in
/// `MAX_PARTS`, since each is a request of its own.
const LARGE_STATE: usize = 1_000;
const MAX_PARTS: u32 = 5;
/// How many states may be fetched to add one batch of fetched events, however small they are.
const MAX_STATES_PER_BATCH: u32 = 20;
/// How many pairs of room and server are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// The time until which other servers may be asked.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    clock: Clock,
    /// On the monotonic clock.
    until: Duration,
    /// Whether to wait until a server may be asked for another state.
    waits: bool,
}

impl Deadline {
    /// Returns the deadline of queued events, for which no request waits.
    pub(crate) fn of_queue(clock: &Clock) -> Self {
        Self { clock: clock.clone(), until: clock.monotonic() + QUEUE_TIMEOUT, waits: false }
    }

    /// Returns the deadline of work for which a request waits.
    pub(crate) fn of_request(clock: &Clock) -> Self {
        Self { clock: clock.clone(), until: clock.monotonic() + REQUEST_TIMEOUT, waits: true }
    }

    /// Returns a deadline after half of the time that is left.
    pub(crate) fn half(&self) -> Self {
        Self { until: self.clock.monotonic() + self.left() / 2, ..self.clone() }
    }

    /// Whether any time is left.
    pub(crate) fn is_left(&self) -> bool {
        !self.left().is_zero()
    }

    fn left(&self) -> Duration {
        self.until.saturating_sub(self.clock.monotonic())
    }

    /// Waits for `pause` if a request waits anyway and there is time. Returns whether it did.
    pub(crate) async fn pause(&self, pause: Duration) -> bool {
        self.waits && pause < self.left() && self.limit(self.clock.sleep(pause)).await.is_some()
    }

    /// Returns the output of `work`, or `None` at the deadline.
    pub(crate) async fn limit<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.clock.sleep(self.left()) => None,
        }
    }

    /// Returns the response of `server`, or an error at the deadline.
    pub(crate) async fn ask<T>(&self, server: &ServerName, asked: PeerResponse<'_, T>) -> Result<T, PeerError> {
        self.limit(asked).await.unwrap_or_else(|| Err(PeerError::timeout(server)))
    }
}

/// Returns the share of the limits that a state of so many events uses.
fn cost(events: usize) -> Duration {
    let events = u32::try_from(events.min(LARGE_STATE)).unwrap_or(u32::MAX);
    let large = u32::try_from(LARGE_STATE).unwrap_or(u32::MAX);
    (STATE_INTERVAL * events / large).max(STATE_INTERVAL / MAX_PARTS)
}

/// Returns how many states of the given size may be fetched for one batch: fewer than the burst of a server, so that
/// one batch does not exceed it.
pub(super) fn max_states_per_batch(events: usize) -> usize {
    let at_once = (STATE_INTERVAL * MAX_STATES_PER_SERVER).as_millis() / cost(events).as_millis().max(1);
    usize::try_from(at_once * 4 / 5).map_or(0, |states| states.min(MAX_STATES_PER_BATCH as usize))
}

/// Limits the states that are fetched from other servers: each may be as large as the room.
/// In memory only, owned by the receiver of events.
#[derive(Default)]
pub(crate) struct StateFetchLimits {
    /// Room and server (`""` for all servers) to the time from which on the whole burst is available again.
    full_at: Mutex<HashMap<(RoomNid, String), Duration>>,
}

impl StateFetchLimits {
    /// Counts one more state of the room from `server`, of the expected number of `events`, at `now` on the monotonic
    /// clock.
    ///
    /// # Errors
    /// When the limit is reached: how long to wait.
    pub(crate) fn take(
        &self,
        room: RoomNid,
        server: &ServerName,
        events: usize,
        now: Duration,
    ) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock();
        if full_at.len() >= MAX_REMEMBERED {
            full_at.retain(|_, at| *at > now);
        }
        let after = |name: &str, most: u32| {
            let before = full_at.get(&(room, name.to_owned())).copied().unwrap_or_default().max(now);
            let after = before + cost(events);
            (after, after.saturating_sub(now + STATE_INTERVAL * most))
        };
        let (of_server, server_waits) = after(server.as_str(), MAX_STATES_PER_SERVER);
        let (of_room, room_waits) = after("", MAX_STATES_PER_ROOM);
        let wait = server_waits.max(room_waits);
        if !wait.is_zero() {
            return Err(wait);
        }
        full_at.insert((room, server.as_str().to_owned()), of_server);
        full_at.insert((room, String::new()), of_room);
        Ok(())
    }

    /// Counts the events of a state beyond the expected number.
    pub(crate) fn add(&self, room: RoomNid, server: &ServerName, expected: usize, events: usize) {
        let more = cost(events).saturating_sub(cost(expected));
        let mut full_at = self.full_at.lock();
        for name in [server.as_str(), ""] {
            if let Some(at) = full_at.get_mut(&(room, name.to_owned())) {
                *at += more;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn time_runs_out_on_the_clock_that_was_given() {
        let clock = Clock::manual(0);
        let deadline = Deadline::of_request(&clock);
        let half = deadline.half();
        assert_eq!(deadline.limit(async { 1 }).await, Some(1));
        clock.advance(REQUEST_TIMEOUT / 2);
        assert!(deadline.is_left() && !half.is_left());
        let waiting = deadline.limit(std::future::pending::<()>());
        let (ended, ()) = futures_util::join!(waiting, async { clock.advance(REQUEST_TIMEOUT) });
        assert_eq!(ended, None);
        assert!(!deadline.is_left() && !deadline.pause(Duration::from_secs(1)).await);
    }

    #[test]
    fn few_states_are_fetched_from_a_server_at_once_and_it_does_not_use_up_the_limit_of_others() {
        let (limits, start) = (StateFetchLimits::default(), Duration::from_secs(1_000));
        let server = |number: u32| ServerName::try_from(format!("s{number}.example")).unwrap();
        let fetched =
            |number: u32, now| (0..100).filter(|_| limits.take(1, &server(number), LARGE_STATE, now).is_ok()).count();
        assert_eq!(fetched(0, start), 10);
        assert_eq!(fetched(0, start + STATE_INTERVAL * 2), 2);
        assert_eq!(fetched(1, start), 10);
        // All together have a bound, too.
        let others: usize = (2..100).map(|number| fetched(number, start)).sum();
        assert!(others < 40, "{others}");
        assert_eq!(limits.take(2, &server(0), LARGE_STATE, start), Ok(()));
        let early = start + STATE_INTERVAL * 2 + Duration::from_secs(10);
        assert_eq!(limits.take(1, &server(0), LARGE_STATE, early), Err(Duration::from_secs(20)));
        assert_eq!(fetched(0, start + STATE_INTERVAL * 1_000), 10);
    }

    #[test]
    fn small_states_count_for_less_unless_they_are_not_small() {
        let server = ServerName::try_from("s.example").unwrap();
        for (events, expected) in [(0, 50), (200, 50), (500, 20), (LARGE_STATE, 10), (usize::MAX, 10)] {
            let limits = StateFetchLimits::default();
            let fetched = (0..100).filter(|_| limits.take(1, &server, events, Duration::ZERO).is_ok()).count();
            assert_eq!(fetched, expected, "{events}");
            assert!(max_states_per_batch(events) < fetched);
        }
        let limits = StateFetchLimits::default();
        let fetched = (0..100).filter(|_| {
            let is_fetched = limits.take(1, &server, 10, Duration::ZERO).is_ok();
            limits.add(1, &server, 10, LARGE_STATE);
            is_fetched
        });
        assert_eq!(fetched.count(), 10);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limits = StateFetchLimits::default();
        let server = ServerName::try_from("s.example").unwrap();
        for room in 0..20_000 {
            assert_eq!(limits.take(room, &server, LARGE_STATE, STATE_INTERVAL * u32::try_from(room).unwrap()), Ok(()));
        }
        assert!(limits.full_at.lock().len() <= MAX_REMEMBERED + 2);
    }
}
