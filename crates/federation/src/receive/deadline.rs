//! Limits on the time for requests to another server, which must not be able to delay others by not responding.

use std::time::Duration;

use plexus_base::Clock;
use plexus_protocol::id::ServerName;

use crate::peers::PeerResponse;
use plexus_rooms::PeerError;

/// How long it may take to process a batch of one server's events in one room.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a request may wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

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
}
