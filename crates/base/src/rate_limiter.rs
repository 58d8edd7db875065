//! Rate limits: one token bucket per key, as Synapse's `rc_*` options describe them.
//!
//! Guesses at secrets are limited with [`RateLimiter::reserve`]: an attempt is counted before the secret is checked,
//! and given back when it was right. So concurrent attempts cannot exceed a limit that is only counted afterwards.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::Clock;
use parking_lot::Mutex;

/// The most keys of one limiter; beyond, those closest to having a full bucket are dropped.
const MAX_KEYS: usize = 65_536;

/// An action is refused because its key has acted too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many actions; the next one is allowed in {} ms", retry_after.as_millis())]
pub struct LimitExceeded {
    /// How long to wait until the action would be allowed.
    pub retry_after: Duration,
}

/// One of the `rc_*` limits, applied to keys of type `K` (a user, an address, ...).
///
/// A key may act `burst_count` times at once, and regains `per_second` actions each second. The limiter stores for each
/// key when its bucket is full again (the generic cell rate algorithm): a key whose time has passed needs no entry.
#[derive(Debug)]
pub struct RateLimiter<K: ?Sized> {
    buckets: Buckets,
    hasher: RandomState,
    key: std::marker::PhantomData<fn(&K)>,
}

impl<K: Hash + ?Sized> RateLimiter<K> {
    /// Returns a limiter of `per_second` actions in the long run and `burst_count` at once.
    pub fn new(clock: Clock, per_second: f64, burst_count: f64) -> Self {
        Self {
            buckets: Buckets { clock, per_second, burst_count, full_at: Mutex::new(HashMap::new()) },
            hasher: RandomState::new(),
            key: std::marker::PhantomData,
        }
    }

    /// Counts one action of `key`.
    ///
    /// # Errors
    /// When the key has acted too often; the action is not counted then.
    pub fn check(&self, key: &K) -> Result<(), LimitExceeded> {
        self.take(key, 1)
    }

    /// Counts `actions` actions of `key`, or none of them.
    ///
    /// # Errors
    /// When the key may not act that often.
    pub fn take(&self, key: &K, actions: u32) -> Result<(), LimitExceeded> {
        self.buckets.take(self.hasher.hash_one(key), u64::from(actions))
    }

    /// Counts `amount` more of an action whose amount becomes known only afterwards, whether or not it exceeds the
    /// limit.
    pub fn charge(&self, key: &K, amount: u64) {
        self.buckets.charge(self.hasher.hash_one(key), amount);
    }

    /// Counts one attempt of `key`, to be given back if it succeeds.
    ///
    /// # Errors
    /// When the key has failed too often, or too many of its attempts are under way.
    pub fn reserve(&self, key: &K) -> Result<Reservation<'_>, LimitExceeded> {
        let mut reservation = self.reservation(key);
        reservation.raise_to(1)?;
        Ok(reservation)
    }

    /// Returns an empty reservation of `key`, for an amount (of bytes, say) that becomes known during its use.
    pub fn reservation(&self, key: &K) -> Reservation<'_> {
        let hash = self.hasher.hash_one(key);
        Reservation { buckets: &self.buckets, hash, amount: 0, at: Duration::ZERO }
    }

    /// Whether `key` could act now, without counting it. Only for refusing early what is counted later.
    ///
    /// # Errors
    /// When it could not.
    pub fn peek(&self, key: &K) -> Result<(), LimitExceeded> {
        self.peek_amount(key, 1)
    }

    /// Like [`Self::peek`], for `amount` actions at once.
    ///
    /// # Errors
    /// When the key may not act that often.
    pub fn peek_amount(&self, key: &K, amount: u64) -> Result<(), LimitExceeded> {
        self.buckets.peek(self.hasher.hash_one(key), amount)
    }
}

/// The buckets of a limiter, by the hashes of their keys.
#[derive(Debug)]
struct Buckets {
    clock: Clock,
    per_second: f64,
    burst_count: f64,
    /// From the hash of a key to the time when its bucket is full again. Keys with the same hash share a bucket, which
    /// is harmless.
    full_at: Mutex<HashMap<u64, Duration>>,
}

impl Buckets {
    fn take(&self, hash: u64, amount: u64) -> Result<(), LimitExceeded> {
        let now = self.clock.monotonic();
        let mut full_at = self.full_at.lock();
        let after = self.after(full_at.get(&hash).copied(), now, amount)?;
        insert(&mut full_at, hash, after, now);
        Ok(())
    }

    fn charge(&self, hash: u64, amount: u64) {
        let now = self.clock.monotonic();
        let mut full_at = self.full_at.lock();
        let before = full_at.get(&hash).copied().unwrap_or_default().max(now);
        let after = (before + self.cost(amount as f64)).min(now + FAR);
        insert(&mut full_at, hash, after, now);
    }

    fn peek(&self, hash: u64, amount: u64) -> Result<(), LimitExceeded> {
        let full_at = self.full_at.lock();
        self.after(full_at.get(&hash).copied(), self.clock.monotonic(), amount).map(drop)
    }

    /// Returns how long it takes to regain `actions` actions.
    fn cost(&self, actions: f64) -> Duration {
        Duration::try_from_secs_f64((actions / self.per_second).max(0.0)).unwrap_or(FAR).min(FAR)
    }

    /// Returns when the bucket would be full again after `amount` more.
    fn after(&self, full_at: Option<Duration>, now: Duration, amount: u64) -> Result<Duration, LimitExceeded> {
        if self.per_second <= 0.0 {
            // Nothing is ever regained: Synapse's way to disable an action.
            return Err(LimitExceeded { retry_after: Duration::from_millis(u64::from(u32::MAX)) });
        }
        let after = full_at.unwrap_or_default().max(now) + self.cost(amount as f64);
        // A rounding tolerance of a microsecond: 10 actions at 0.1 each must fit a burst of 10.
        let burst = self.cost(self.burst_count);
        if after <= now + burst + Duration::from_micros(1) {
            return Ok(after);
        }
        Err(LimitExceeded { retry_after: after.saturating_sub(now + burst) })
    }
}

/// An attempt, or an amount, that is counted already. It stays counted when dropped: it failed, or its client went
/// away.
#[must_use = "a successful attempt is to be given back"]
#[derive(Debug)]
pub struct Reservation<'a> {
    buckets: &'a Buckets,
    hash: u64,
    amount: u64,
    /// When the first part was taken.
    at: Duration,
}

impl Reservation<'_> {
    /// Raises the reservation to `amount`, or changes nothing.
    ///
    /// # Errors
    /// When the key may not take that much.
    pub fn raise_to(&mut self, amount: u64) -> Result<(), LimitExceeded> {
        let missing = amount.saturating_sub(self.amount);
        if missing == 0 {
            return Ok(());
        }
        self.buckets.take(self.hash, missing)?;
        if self.amount == 0 {
            self.at = self.buckets.clock.monotonic();
        }
        self.amount = amount;
        Ok(())
    }

    /// Gives back the unused part beyond `amount`. What has been regained since is not given back twice.
    pub fn lower_to(&mut self, amount: u64) {
        let unused = self.amount.saturating_sub(amount);
        if unused == 0 {
            return;
        }
        let elapsed = self.buckets.clock.monotonic().saturating_sub(self.at);
        let pending = self.buckets.cost(self.amount as f64).saturating_sub(elapsed);
        let owed = self.buckets.cost(unused as f64).min(pending);
        self.amount = amount;
        let mut full_at = self.buckets.full_at.lock();
        if let Some(moment) = full_at.get_mut(&self.hash) {
            *moment = moment.saturating_sub(owed);
        }
    }

    /// Gives the attempt back: it succeeded and does not count.
    pub fn give_back(mut self) {
        self.lower_to(0);
    }
}

/// Returns the key of limits by address. Whoever has one IPv6 address usually has the 2^64 of its network, so these
/// share a key, as do requests without an address (over a unix socket without X-Forwarded-For).
#[must_use]
pub fn network(address: Option<IpAddr>) -> IpAddr {
    match address.map(|address| address.to_canonical()) {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(IpAddr::V6(address)) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        Some(address) => address,
    }
}

/// Whether many clients may share the address: addresses of this machine, of private networks and of the space that
/// carriers share among their customers (RFC 6598) belong to reverse proxies and gateways.
#[must_use]
pub fn is_shared_by_many(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let carrier_grade = matches!(v4.octets(), [100, 64..=127, _, _]);
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || carrier_grade
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// An upper bound of a thousand years, so that sums of durations cannot overflow.
const FAR: Duration = Duration::from_secs(31_557_600_000);

fn insert(full_at: &mut HashMap<u64, Duration>, hash: u64, moment: Duration, now: Duration) {
    if full_at.len() >= MAX_KEYS && !full_at.contains_key(&hash) {
        forget(full_at, now);
    }
    full_at.insert(hash, moment);
}

/// Drops full buckets and, if that is not enough, the half that is closest to being full.
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

    fn refused_for(result: Result<(), LimitExceeded>) -> Option<u64> {
        result.err().map(|refused| refused.retry_after.as_millis().div_ceil(1000) as u64)
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
    fn attempts_count_while_they_are_under_way() {
        let clock = Clock::manual(0);
        let limiter: RateLimiter<str> = RateLimiter::new(clock, 0.1, 3.0);
        let mut under_way: Vec<_> = (0..3).map(|_| limiter.reserve("a").unwrap()).collect();
        assert!(limiter.reserve("a").is_err());
        // One succeeds, one fails, one is given up.
        under_way.remove(0).give_back();
        let again = limiter.reserve("a").unwrap();
        assert!(limiter.reserve("a").is_err());
        drop(under_way);
        again.give_back();
        limiter.reserve("a").unwrap().give_back();
        drop(limiter.reserve("a").unwrap());
        assert!(limiter.reserve("a").is_err());
        assert!(limiter.reserve("b").is_ok());
    }

    #[test]
    fn what_time_gave_back_is_not_given_back_twice() {
        let clock = Clock::manual(0);
        let limiter: RateLimiter<str> = RateLimiter::new(clock.clone(), 0.1, 1.0);
        let slow = limiter.reserve("a").unwrap();
        clock.advance(Duration::from_secs(10));
        drop(limiter.reserve("a").unwrap());
        slow.give_back();
        assert!(limiter.reserve("a").is_err());
    }

    #[test]
    fn amounts_are_raised_and_what_is_unused_goes_back() {
        let clock = Clock::manual(0);
        let limiter: RateLimiter<str> = RateLimiter::new(clock, 1e9, 1e10);
        let mut large = limiter.reservation("a");
        assert!(large.raise_to(10_000_010_000).is_err());
        large.raise_to(4_000_000_000).unwrap();
        large.raise_to(10_000_000_000).unwrap();
        large.raise_to(1).unwrap();
        assert_eq!(refused_for(limiter.peek_amount("a", 3_000_000_000)), Some(3));
        large.lower_to(7_000_000_000);
        limiter.peek_amount("a", 3_000_000_000).unwrap();
        assert!(limiter.peek_amount("a", 3_000_010_000).is_err());
        drop(large);
        assert_eq!(refused_for(limiter.peek_amount("a", 4_000_000_000)), Some(1));
    }

    #[test]
    fn what_is_unused_does_not_pay_for_what_was_taken_since() {
        let clock = Clock::manual(0);
        let limiter: RateLimiter<str> = RateLimiter::new(clock.clone(), 1.0, 100.0);
        let mut announced = limiter.reservation("a");
        announced.raise_to(100).unwrap();
        clock.advance(Duration::from_secs(100));
        limiter.take("a", 100).unwrap();
        announced.lower_to(1);
        assert!(limiter.check("a").is_err());

        // Half of it has come back by itself: only the other half can be given back.
        clock.advance(Duration::from_secs(100));
        let mut announced = limiter.reservation("a");
        announced.raise_to(100).unwrap();
        clock.advance(Duration::from_secs(50));
        limiter.take("a", 50).unwrap();
        announced.lower_to(1);
        limiter.take("a", 50).unwrap();
        assert!(limiter.check("a").is_err());
    }

    #[test]
    fn what_is_charged_afterwards_counts_beyond_the_limit_and_delays_later_actions() {
        let clock = Clock::manual(0);
        let limiter: RateLimiter<str> = RateLimiter::new(clock.clone(), 1.0, 10.0);
        limiter.take("a", 10).unwrap();
        limiter.charge("a", 20);
        assert_eq!(refused_for(limiter.check("a")), Some(21));
        clock.advance(Duration::from_secs(21));
        limiter.check("a").unwrap();
        // A key that has not acted before is charged too, and no charge is too large.
        limiter.charge("b", 10);
        assert_eq!(refused_for(limiter.check("b")), Some(1));
        limiter.charge("b", u64::MAX);
        limiter.charge("b", u64::MAX);
        assert!(limiter.check("b").is_err());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let of = |text: &str| network(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(network(None), of("0.0.0.0"));
    }

    #[test]
    fn memory_is_bounded() {
        let limiter: RateLimiter<usize> = RateLimiter::new(Clock::manual(0), 1.0, 2.0);
        for key in 0..MAX_KEYS + 10 {
            limiter.check(&key).unwrap();
        }
        assert!(limiter.buckets.full_at.lock().len() <= MAX_KEYS);
    }
}
