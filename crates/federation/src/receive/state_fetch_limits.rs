//! Limits on the states that are fetched from other servers for events with missing prev events: each may be as large
//! as the room.

use std::time::Duration;

use plexus_base::{Clock, LimitExceeded, RateLimiter};
use plexus_protocol::id::ServerName;
use plexus_store::RoomNid;

/// How many large states of a room may be fetched from one server in a burst.
const MAX_STATES_PER_SERVER: u32 = 10;
/// How many large states of a room may be fetched from all servers together in a burst.
const MAX_STATES_PER_ROOM: u32 = 40;
/// After how long one more large state may be fetched.
const STATE_INTERVAL: Duration = Duration::from_secs(30);
/// A state of this many events, or more, counts in full, a smaller one in proportion.
const LARGE_STATE: u32 = 1_000;
/// A small state counts at least as one of this many events, since each takes a request of its own.
const SMALL_STATE: u32 = 200;
/// How many states may be fetched to add one batch of fetched events, however small they are.
const MAX_STATES_PER_BATCH: u32 = 20;

/// Limits on the states that are fetched from other servers, counted by their events.
/// In memory only, owned by the receiver of events.
pub(crate) struct StateFetchLimits {
    by_server: RateLimiter<(RoomNid, ServerName)>,
    by_room: RateLimiter<RoomNid>,
}

/// Returns how much a state of so many events counts.
fn cost(events: usize) -> u32 {
    u32::try_from(events).unwrap_or(u32::MAX).clamp(SMALL_STATE, LARGE_STATE)
}

/// Returns how many states of the given size may be fetched for one batch: fewer than the burst of a server, so that
/// one batch does not exceed it.
pub(super) fn max_states_per_batch(events: usize) -> usize {
    let burst = MAX_STATES_PER_SERVER * LARGE_STATE / cost(events);
    MAX_STATES_PER_BATCH.min(burst * 4 / 5) as usize
}

impl StateFetchLimits {
    /// Returns limits that are not used up.
    pub(super) fn new(clock: &Clock) -> Self {
        let per_second = f64::from(LARGE_STATE) / STATE_INTERVAL.as_secs_f64();
        let burst = |states: u32| f64::from(states * LARGE_STATE);
        Self {
            by_server: RateLimiter::new(clock.clone(), per_second, burst(MAX_STATES_PER_SERVER)),
            by_room: RateLimiter::new(clock.clone(), per_second, burst(MAX_STATES_PER_ROOM)),
        }
    }

    /// Counts one more state of the room from `server`, of the expected number of `events`.
    ///
    /// # Errors
    /// When a limit is reached; the state is not counted then.
    pub(super) fn take(&self, room: RoomNid, server: &ServerName, events: usize) -> Result<(), LimitExceeded> {
        let mut of_room = self.by_room.reservation(&room);
        of_room.raise_to(cost(events).into())?;
        self.by_server.take(&(room, server.clone()), cost(events)).inspect_err(|_| of_room.lower_to(0))
    }

    /// Counts the events of a fetched state beyond the expected number.
    pub(super) fn charge(&self, room: RoomNid, server: &ServerName, expected: usize, events: usize) {
        let more = u64::from(cost(events).saturating_sub(cost(expected)));
        self.by_room.charge(&room, more);
        self.by_server.charge(&(room, server.clone()), more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = LARGE_STATE as usize;

    #[test]
    fn few_states_are_fetched_from_a_server_at_once_and_it_does_not_use_up_the_limit_of_others() {
        let clock = Clock::manual(0);
        let limits = StateFetchLimits::new(&clock);
        let server = |number: u32| ServerName::try_from(format!("s{number}.example")).unwrap();
        let fetched = |number: u32| (0..100).filter(|_| limits.take(1, &server(number), LARGE).is_ok()).count();
        assert_eq!(fetched(0), 10);
        assert_eq!(fetched(1), 10);
        // All together have a bound, too.
        assert_eq!((2..100).map(fetched).sum::<usize>(), 20);
        assert_eq!(limits.take(2, &server(0), LARGE), Ok(()));
        clock.advance(STATE_INTERVAL * 2);
        assert_eq!(fetched(0), 2);
        clock.advance(Duration::from_secs(10));
        let wait = limits.take(1, &server(0), LARGE).unwrap_err().retry_after;
        assert!(wait.abs_diff(Duration::from_secs(20)) < Duration::from_millis(1), "{wait:?}");
        clock.advance(STATE_INTERVAL * 1_000);
        assert_eq!(fetched(0), 10);
    }

    #[test]
    fn a_state_that_the_limit_of_a_server_refuses_does_not_count_for_the_room() {
        let limits = StateFetchLimits::new(&Clock::manual(0));
        let server = ServerName::try_from("s.example").unwrap();
        assert_eq!((0..100).filter(|_| limits.take(1, &server, LARGE).is_ok()).count(), 10);
        let others = (0..3).map(|number| ServerName::try_from(format!("s{number}.example")).unwrap());
        let fetched = others.map(|other| (0..10).filter(|_| limits.take(1, &other, LARGE).is_ok()).count());
        assert_eq!(fetched.sum::<usize>(), 30);
    }

    #[test]
    fn small_states_count_for_less_unless_they_are_not_small() {
        let server = ServerName::try_from("s.example").unwrap();
        for (events, expected) in [(0, 50), (200, 50), (500, 20), (LARGE, 10), (usize::MAX, 10)] {
            let limits = StateFetchLimits::new(&Clock::manual(0));
            let fetched = (0..100).filter(|_| limits.take(1, &server, events).is_ok()).count();
            assert_eq!(fetched, expected, "{events}");
            assert!(max_states_per_batch(events) < fetched);
        }
        let limits = StateFetchLimits::new(&Clock::manual(0));
        let fetched = (0..100).filter(|_| {
            let is_fetched = limits.take(1, &server, 10).is_ok();
            limits.charge(1, &server, 10, LARGE);
            is_fetched
        });
        assert_eq!(fetched.count(), 10);
    }
}
