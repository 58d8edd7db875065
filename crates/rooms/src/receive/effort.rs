//! How much is done for events that rest on what is not here: a server must not be able to keep others waiting, or to fill
//! memory, by what it answers or does not answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use plexus_base::Clock;
use plexus_net::federation::FederationError;
use plexus_protocol::id::ServerName;
use plexus_store::RoomNid;
use tokio::time::Instant;

use crate::peers::Asked;

/// How long the events of one server in one room, fifty at most, may be searched for.
const OF_A_LANE: Duration = Duration::from_secs(300);
/// How long somebody is kept waiting.
const OF_A_REQUEST: Duration = Duration::from_secs(60);

/// How many states one server may tell of a room at once, and all servers together.
const STATES_OF_SERVER: u32 = 10;
const STATES_OF_ROOM: u32 = 40;
/// After how long it may tell one more.
const ONE_MORE_STATE: Duration = Duration::from_secs(30);
/// How many rooms and servers are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// The time that is left for a search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    until: Instant,
    /// Whether to wait for what a server may do a little later.
    waits: bool,
}

impl Effort {
    /// For events that nobody waits for.
    pub fn of_lane() -> Self {
        Self { until: Instant::now() + OF_A_LANE, waits: false }
    }

    /// For somebody who waits.
    pub fn of_request() -> Self {
        Self { until: Instant::now() + OF_A_REQUEST, waits: true }
    }

    /// Half of the time that is left, so that what comes afterwards has some.
    pub fn half(&self) -> Self {
        let left = self.until.saturating_duration_since(Instant::now());
        Self { until: Instant::now() + left / 2, ..*self }
    }

    /// Whether any time is left.
    pub fn is_left(&self) -> bool {
        Instant::now() < self.until
    }

    /// Waits for `pause` on a clock, if somebody waits anyway and there is time for it; whether it did.
    pub async fn pause(&self, clock: &Clock, pause: Duration) -> bool {
        self.waits && Instant::now() + pause < self.until && self.limit(clock.sleep(pause)).await.is_some()
    }

    /// What comes of it, if it comes in the time that is left.
    pub async fn limit<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.until, work).await.ok()
    }

    /// The answer of `server`, if it comes in the time that is left.
    pub async fn ask<T>(&self, server: &ServerName, asked: Asked<'_, T>) -> Result<T, FederationError> {
        self.limit(asked).await.unwrap_or_else(|| Err(FederationError::Timeout(server.clone())))
    }
}

/// Counts the states that other servers tell: each may be as large as the room.
#[derive(Default)]
pub(crate) struct ToldLimits {
    /// Room and server (all of them: `""`) to the moment from which on as many as ever may be told.
    full_at: Mutex<HashMap<(RoomNid, String), Duration>>,
}

impl ToldLimits {
    /// Counts one more state of the room that `server` tells at `now` on a clock that does not jump.
    ///
    /// # Errors
    /// When there have been enough for now: how long to wait.
    pub fn take(&self, room: RoomNid, server: &ServerName, now: Duration) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MOST_REMEMBERED {
            full_at.retain(|_, at| *at > now);
        }
        let after = |name: &str, most: u32| {
            let before = full_at.get(&(room, name.to_owned())).copied().unwrap_or_default().max(now);
            let after = before + ONE_MORE_STATE;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_tells_few_states_at_once_and_does_not_use_up_those_of_others() {
        let (limits, start) = (ToldLimits::default(), Duration::from_secs(1_000));
        let server = |number: u32| ServerName::try_from(format!("s{number}.example")).unwrap();
        let told = |number: u32, now| (0..100).filter(|_| limits.take(1, &server(number), now).is_ok()).count();
        assert_eq!(told(0, start), 10);
        assert_eq!(told(0, start + ONE_MORE_STATE * 2), 2);
        assert_eq!(told(1, start), 10);
        // All together have a bound, too.
        let others: usize = (2..100).map(|number| told(number, start)).sum();
        assert!(others < 40, "{others}");
        assert_eq!(limits.take(2, &server(0), start), Ok(()));
        let early = start + ONE_MORE_STATE * 2 + Duration::from_secs(10);
        assert_eq!(limits.take(1, &server(0), early), Err(Duration::from_secs(20)));
        assert_eq!(told(0, start + ONE_MORE_STATE * 1_000), 10);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limits = ToldLimits::default();
        let server = ServerName::try_from("s.example").unwrap();
        for room in 0..20_000 {
            assert_eq!(limits.take(room, &server, ONE_MORE_STATE * u32::try_from(room).unwrap()), Ok(()));
        }
        assert!(limits.full_at.lock().unwrap().len() <= MOST_REMEMBERED + 2);
    }
}
