//! What the previews that one user asks for may fetch over time: their number is bounded as well as their bytes.

use plexus_base::{Clock, RateLimiter};
use plexus_protocol::id::UserId;

use super::error::PreviewError;

/// What each request to a site costs at least, in bytes.
const COST_OF_REQUEST: u64 = 128 * 1024;
/// How much may be fetched at once, in bytes: 512 small pages or images.
const BURST_BYTES: u64 = 64 * 1024 * 1024;
/// How much may be fetched in the long run: a small page or image a second, 11 GB a day.
const BYTES_PER_SECOND: u64 = 128 * 1024;

/// The bytes that each user's previews may fetch. In memory only; each process counts what it fetches itself.
#[derive(Debug)]
pub(super) struct PreviewBudget(RateLimiter<UserId>);

impl PreviewBudget {
    pub(super) fn new(clock: Clock) -> Self {
        Self(RateLimiter::new(clock, BYTES_PER_SECOND as f64, BURST_BYTES as f64))
    }

    /// Checks whether another preview may be made for the user. What belongs to one preview is not refused later, so
    /// that others do not get half of it: a preview may exceed the budget.
    pub(super) fn check(&self, user: &UserId) -> Result<(), PreviewError> {
        self.0.peek_amount(user, COST_OF_REQUEST).map_err(|exceeded| PreviewError::Busy {
            retry_after_ms: u64::try_from(exceeded.retry_after.as_millis()).unwrap_or(u64::MAX).max(1),
        })
    }

    /// Counts a request to a site.
    pub(super) fn count_request(&self, user: &UserId) {
        self.0.charge(user, COST_OF_REQUEST);
    }

    /// Counts bytes that a site sent, decompressed.
    pub(super) fn count_bytes(&self, user: &UserId, bytes: u64) {
        self.0.charge(user, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_number_and_the_bytes_of_each_user_are_bounded() {
        let clock = Clock::manual(0);
        let budget = PreviewBudget::new(clock.clone());
        let (alice, bob): (UserId, UserId) = ("@alice:a.example".parse().unwrap(), "@bob:a.example".parse().unwrap());
        for _ in 0..BURST_BYTES / COST_OF_REQUEST {
            budget.check(&alice).unwrap();
            budget.count_request(&alice);
        }
        assert!(matches!(budget.check(&alice), Err(PreviewError::Busy { retry_after_ms: 1_000 })));
        budget.check(&bob).unwrap();
        clock.advance(Duration::from_secs(1));
        budget.check(&alice).unwrap();
        budget.count_bytes(&bob, 2 * BURST_BYTES);
        clock.advance(Duration::from_secs(BURST_BYTES / BYTES_PER_SECOND));
        assert!(budget.check(&bob).is_err());
    }
}
