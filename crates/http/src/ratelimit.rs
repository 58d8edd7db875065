//! Rate limits: one token bucket per key, as Synapse's `rc_*` options describe them.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use plexus_base::Clock;

use crate::ApiError;

/// The most keys one limiter remembers; beyond, those closest to being full again are forgotten.
const MAX_KEYS: usize = 65_536;

/// One of the `rc_*` limits, applied to keys of type `K` (a user, an address, ...).
///
/// A key may act `burst_count` times at once, and gets `per_second` actions back each second. What is stored per key is the
/// moment at which its bucket is full again (the generic cell rate algorithm): a key in the past needs no entry.
#[derive(Debug)]
pub struct RateLimiter<K: ?Sized> {
    clock: Clock,
    per_second: f64,
    burst_count: f64,
    hasher: RandomState,
    /// Hash of the key -> the moment its bucket is full again. A colliding pair of keys shares a bucket, which is harmless.
    full_at: Mutex<HashMap<u64, Duration>>,
    key: std::marker::PhantomData<fn(&K)>,
}

impl<K: Hash + ?Sized> RateLimiter<K> {
    /// A limiter of `per_second` actions in the long run and `burst_count` at once.
    pub fn new(clock: Clock, per_second: f64, burst_count: f64) -> Self {
        Self {
            clock,
            per_second,
            burst_count,
            hasher: RandomState::new(),
            full_at: Mutex::new(HashMap::new()),
            key: std::marker::PhantomData,
        }
    }

    /// Counts one action of `key`, or refuses it with `M_LIMIT_EXCEEDED`.
    pub fn check(&self, key: &K) -> Result<(), ApiError> {
        self.take(key, 1)
    }

    /// Counts `actions` actions of `key`, or refuses all of them with `M_LIMIT_EXCEEDED`.
    pub fn take(&self, key: &K, actions: u32) -> Result<(), ApiError> {
        let hash = self.hasher.hash_one(key);
        let now = self.clock.monotonic();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let after = self.after(full_at.get(&hash).copied(), now, actions)?;
        if full_at.len() >= MAX_KEYS && !full_at.contains_key(&hash) {
            forget(&mut full_at, now);
        }
        full_at.insert(hash, after);
        Ok(())
    }

    /// Whether `key` could act now, without counting it: for limits on failures, counted by [`Self::record`].
    pub fn peek(&self, key: &K) -> Result<(), ApiError> {
        let hash = self.hasher.hash_one(key);
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.after(full_at.get(&hash).copied(), self.clock.monotonic(), 1).map(drop)
    }

    /// Counts one action of `key` that has happened already, allowed or not.
    pub fn record(&self, key: &K) {
        // Refused means the bucket is empty: nothing further to count.
        let _ = self.take(key, 1);
    }

    /// When the bucket would be full again after `actions` more.
    fn after(&self, full_at: Option<Duration>, now: Duration, actions: u32) -> Result<Duration, ApiError> {
        if self.per_second <= 0.0 {
            // Nothing ever comes back: Synapse's way to switch an action off.
            return Err(ApiError::limit_exceeded(u64::from(u32::MAX)));
        }
        let seconds = |actions: f64| Duration::try_from_secs_f64((actions / self.per_second).max(0.0)).unwrap_or(FAR);
        let after = full_at.unwrap_or_default().max(now) + seconds(f64::from(actions));
        // A rounding slack of a microsecond: 10 actions at 0.1 each must fit a burst of 10.
        let allowed = now + seconds(self.burst_count) + Duration::from_micros(1);
        if after <= allowed {
            return Ok(after);
        }
        let wait = after.saturating_sub(now + seconds(self.burst_count));
        Err(ApiError::limit_exceeded(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)))
    }
}

/// Some bound so that sums of durations cannot overflow: a thousand years.
const FAR: Duration = Duration::from_secs(31_557_600_000);

/// Makes room: drops full buckets, and when that is not enough the half that is closest to being full.
fn forget(full_at: &mut HashMap<u64, Duration>, now: Duration) {
    full_at.retain(|_, moment| *moment > now);
    if full_at.len() < MAX_KEYS {
        return;
    }
    let mut moments: Vec<Duration> = full_at.values().copied().collect();
    let middle = moments.len() / 2;
    let (_, median, _) = moments.select_nth_unstable(middle);
    let median = *median;
    full_at.retain(|_, moment| *moment > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_for(result: Result<(), ApiError>) -> Option<u64> {
        use axum::response::IntoResponse as _;
        let response = result.err()?.into_response();
        let seconds = response.headers().get("retry-after")?.to_str().ok()?;
        seconds.parse().ok()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let clock = Clock::manual(0);
        let limiter: RateLimiter<str> = RateLimiter::new(clock.clone(), 0.1, 10.0);
        for _ in 0..10 {
            limiter.check("a").unwrap();
        }
        assert_eq!(refused_for(limiter.check("a")), Some(10));
        limiter.check("b").unwrap();
        clock.advance(Duration::from_secs(10));
        limiter.peek("a").unwrap();
        limiter.check("a").unwrap();
        assert!(limiter.peek("a").is_err());
        clock.advance(Duration::from_secs(3));
        assert_eq!(refused_for(limiter.check("a")), Some(7));
    }

    #[test]
    fn memory_is_bounded() {
        let limiter: RateLimiter<usize> = RateLimiter::new(Clock::manual(0), 1.0, 2.0);
        for key in 0..MAX_KEYS + 10 {
            limiter.check(&key).unwrap();
        }
        assert!(limiter.full_at.lock().unwrap().len() <= MAX_KEYS);
    }
}
