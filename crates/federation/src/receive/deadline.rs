//! How much is done for events that rest on what is not here: a server must not be able to keep others waiting, or to fill
//! memory, by what it answers or does not answer.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_protocol::id::ServerName;
use plexus_store::RoomNid;

use crate::peers::Asked;
use plexus_rooms::PeerError;

/// How long the events of one server in one room, fifty at most, may be searched for.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long somebody is kept waiting.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How many states one server may tell of a room at once, and all servers together.
const STATES_OF_SERVER: u32 = 10;
const STATES_OF_ROOM: u32 = 40;
/// After how long it may tell one more.
const ONE_MORE_STATE: Duration = Duration::from_secs(30);
/// From how many events on a state counts in full. A smaller one counts for less, but not for less than this part: each
/// is a request of its own.
const LARGE_STATE: usize = 1_000;
const LEAST_PART: u32 = 5;
/// How many states are asked for at most to place what was fetched in one go, however small they are.
const MOST_STATES: u32 = 20;
/// How many rooms and servers are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// The time that is left for a search.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    clock: Clock,
    /// On the monotonic clock.
    until: Duration,
    /// Whether to wait for what a server may do a little later.
    waits: bool,
}

impl Deadline {
    /// For events that nobody waits for.
    pub fn of_queue(clock: &Clock) -> Self {
        Self { clock: clock.clone(), until: clock.monotonic() + QUEUE_TIMEOUT, waits: false }
    }

    /// For somebody who waits.
    pub fn of_request(clock: &Clock) -> Self {
        Self { clock: clock.clone(), until: clock.monotonic() + REQUEST_TIMEOUT, waits: true }
    }

    /// Half of the time that is left, so that what comes afterwards has some.
    pub fn half(&self) -> Self {
        Self { until: self.clock.monotonic() + self.left() / 2, ..self.clone() }
    }

    /// Whether any time is left.
    pub fn is_left(&self) -> bool {
        !self.left().is_zero()
    }

    fn left(&self) -> Duration {
        self.until.saturating_sub(self.clock.monotonic())
    }

    /// Waits for `pause` if somebody waits anyway and there is time for it. Returns whether it did.
    pub async fn pause(&self, pause: Duration) -> bool {
        self.waits && pause < self.left() && self.limit(self.clock.sleep(pause)).await.is_some()
    }

    /// What comes of it, if it comes in the time that is left.
    pub async fn limit<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.clock.sleep(self.left()) => None,
        }
    }

    /// The answer of `server`, if it comes in the time that is left.
    pub async fn ask<T>(&self, server: &ServerName, asked: Asked<'_, T>) -> Result<T, PeerError> {
        self.limit(asked).await.unwrap_or_else(|| Err(PeerError::timeout(server)))
    }
}

/// What a state of so many events counts.
fn cost(events: usize) -> Duration {
    let events = u32::try_from(events.min(LARGE_STATE)).unwrap_or(u32::MAX);
    let large = u32::try_from(LARGE_STATE).unwrap_or(u32::MAX);
    (ONE_MORE_STATE * events / large).max(ONE_MORE_STATE / LEAST_PART)
}

/// For how many events of a room whose state is so large the state before them may be asked for in one go: for fewer
/// than a server may tell at once, so that one go is enough.
pub(super) fn most_states(events: usize) -> usize {
    let at_once = (ONE_MORE_STATE * STATES_OF_SERVER).as_millis() / cost(events).as_millis().max(1);
    usize::try_from(at_once * 4 / 5).map_or(0, |states| states.min(MOST_STATES as usize))
}

/// Counts the states that other servers tell: each may be as large as the room.
#[derive(Default)]
pub(crate) struct StateFetchLimits {
    /// Room and server (all of them: `""`) to the moment from which on as many as ever may be told.
    full_at: Mutex<HashMap<(RoomNid, String), Duration>>,
}

impl StateFetchLimits {
    /// Counts one more state of the room that `server` tells at `now` on a clock that does not jump; `events`: how large
    /// it is expected to be.
    ///
    /// # Errors
    /// When there have been enough for now: how long to wait.
    pub fn take(&self, (room, server): (RoomNid, &ServerName), events: usize, now: Duration) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock();
        if full_at.len() >= MOST_REMEMBERED {
            full_at.retain(|_, at| *at > now);
        }
        let after = |name: &str, most: u32| {
            let before = full_at.get(&(room, name.to_owned())).copied().unwrap_or_default().max(now);
            let after = before + cost(events);
            (after, after.saturating_sub(now + ONE_MORE_STATE * most))
        };
        let (of_server, server_waits) = after(server.as_str(), STATES_OF_SERVER);
        let (of_room, room_waits) = after("", STATES_OF_ROOM);
        let wait = server_waits.max(room_waits);
        if !wait.is_zero() {
            return Err(wait);
        }
        full_at.insert((room, server.as_str().to_owned()), of_server);
        full_at.insert((room, String::new()), of_room);
        Ok(())
    }

    /// Counts what a state was larger than expected.
    pub fn add(&self, (room, server): (RoomNid, &ServerName), expected: usize, events: usize) {
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
    fn a_server_tells_few_states_at_once_and_does_not_use_up_those_of_others() {
        let (limits, start) = (StateFetchLimits::default(), Duration::from_secs(1_000));
        let server = |number: u32| ServerName::try_from(format!("s{number}.example")).unwrap();
        let told =
            |number: u32, now| (0..100).filter(|_| limits.take((1, &server(number)), LARGE_STATE, now).is_ok()).count();
        assert_eq!(told(0, start), 10);
        assert_eq!(told(0, start + ONE_MORE_STATE * 2), 2);
        assert_eq!(told(1, start), 10);
        // All together have a bound, too.
        let others: usize = (2..100).map(|number| told(number, start)).sum();
        assert!(others < 40, "{others}");
        assert_eq!(limits.take((2, &server(0)), LARGE_STATE, start), Ok(()));
        let early = start + ONE_MORE_STATE * 2 + Duration::from_secs(10);
        assert_eq!(limits.take((1, &server(0)), LARGE_STATE, early), Err(Duration::from_secs(20)));
        assert_eq!(told(0, start + ONE_MORE_STATE * 1_000), 10);
    }

    #[test]
    fn small_states_count_for_less_unless_they_are_not_small() {
        let server = ServerName::try_from("s.example").unwrap();
        for (events, expected) in [(0, 50), (200, 50), (500, 20), (LARGE_STATE, 10), (usize::MAX, 10)] {
            let limits = StateFetchLimits::default();
            let told = (0..100).filter(|_| limits.take((1, &server), events, Duration::ZERO).is_ok()).count();
            assert_eq!(told, expected, "{events}");
            assert!(most_states(events) < told);
        }
        let limits = StateFetchLimits::default();
        let told = (0..100).filter(|_| {
            let is_told = limits.take((1, &server), 10, Duration::ZERO).is_ok();
            limits.add((1, &server), 10, LARGE_STATE);
            is_told
        });
        assert_eq!(told.count(), 10);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limits = StateFetchLimits::default();
        let server = ServerName::try_from("s.example").unwrap();
        for room in 0..20_000 {
            assert_eq!(
                limits.take((room, &server), LARGE_STATE, ONE_MORE_STATE * u32::try_from(room).unwrap()),
                Ok(())
            );
        }
        assert!(limits.full_at.lock().len() <= MOST_REMEMBERED + 2);
    }
}
