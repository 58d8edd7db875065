//! How many bytes of other servers' media each downloader may have fetched (`remote_media_download_per_second` and
//! `remote_media_download_burst_count`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plexus_base::Clock;
use plexus_protocol::id::UserId;

/// The most accounts that are remembered; beyond, the half that is closest to being full is forgotten.
const MAX_ACCOUNTS: usize = 65_536;
/// What a fetch costs at least, in bytes: every file takes a block of the disk and a row.
pub(super) const MIN_COST: u64 = 4096;
/// Some bound so that sums of durations cannot overflow: a thousand years.
const FAR: Duration = Duration::from_secs(31_557_600_000);

/// Who wants media of other servers.
#[derive(Debug, Clone, Default)]
pub struct Downloader {
    /// The user, when there is an access token.
    pub user: Option<UserId>,
    /// The client's address; `None` on a unix socket.
    pub address: Option<IpAddr>,
}

/// What is charged for a fetch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Account {
    User(UserId),
    Address(IpAddr),
}

impl Downloader {
    /// The user and the address, each: neither many sessions nor many users of one address get more than one would.
    fn accounts(&self) -> Vec<Account> {
        let user = self.user.clone().map(Account::User);
        let address = self.address.map(|address| Account::Address(network(address)));
        user.into_iter().chain(address).collect()
    }

    /// A name for what may be bounded for each of them.
    pub(super) fn name(&self) -> String {
        match (&self.user, self.address) {
            (Some(user), _) => user.to_string(),
            (None, Some(address)) => network(address).to_string(),
            (None, None) => String::new(),
        }
    }
}

/// One subscriber has 64 bits of IPv6 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// One token bucket of bytes for each account. Owned by `Downloads`.
#[derive(Debug)]
pub(super) struct DownloadBudget {
    clock: Clock,
    per_second: u64,
    burst: u64,
    /// When each bucket is full again; a full one has no entry.
    full_at: Mutex<HashMap<Account, Duration>>,
}

/// More was asked for than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exhausted {
    pub(super) retry_after_ms: u64,
}

impl DownloadBudget {
    pub(super) fn new(clock: Clock, per_second: u64, burst: u64) -> Self {
        Self { clock, per_second, burst, full_at: Mutex::default() }
    }

    /// Takes `bytes` from all of `accounts`, or from none.
    fn take(&self, accounts: &[Account], bytes: u64) -> Result<(), Exhausted> {
        if self.per_second == 0 {
            // Nothing ever comes back.
            return Err(Exhausted { retry_after_ms: u64::from(u32::MAX) });
        }
        let now = self.clock.monotonic();
        let latest = now.saturating_add(self.time_for(self.burst));
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_after = |account| {
            let full: Duration = full_at.get(account).copied().unwrap_or_default();
            full.max(now).saturating_add(self.time_for(bytes))
        };
        let after: Vec<Duration> = accounts.iter().map(full_after).collect();
        let wait = after.iter().map(|after| after.saturating_sub(latest)).max().unwrap_or_default();
        if !wait.is_zero() {
            return Err(Exhausted { retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1) });
        }
        if full_at.len() >= MAX_ACCOUNTS {
            forget(&mut full_at, now);
        }
        full_at.extend(accounts.iter().cloned().zip(after));
        Ok(())
    }

    fn give_back(&self, accounts: &[Account], bytes: u64) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        for account in accounts {
            if let Some(full) = full_at.get_mut(account) {
                *full = full.saturating_sub(self.time_for(bytes));
            }
        }
    }

    /// How long it takes for so many bytes to come back.
    fn time_for(&self, bytes: u64) -> Duration {
        // Whole microseconds, so that what is taken in parts is as much as what is taken at once.
        let micros = u128::from(bytes) * 1_000_000 / u128::from(self.per_second.max(1));
        u64::try_from(micros).map_or(FAR, Duration::from_micros).min(FAR)
    }
}

/// Drops full buckets, and when that is not enough the half that is closest to being full.
fn forget(full_at: &mut HashMap<Account, Duration>, now: Duration) {
    full_at.retain(|_, full| *full > now);
    if full_at.len() < MAX_ACCOUNTS {
        return;
    }
    let mut moments: Vec<Duration> = full_at.values().copied().collect();
    let middle = moments.len() / 2;
    let (_, median, _) = moments.select_nth_unstable(middle);
    let median = *median;
    full_at.retain(|_, full| *full > median);
}

/// What one fetch has taken. What it did not use goes back when this is dropped.
pub(super) struct Charge {
    budget: Arc<DownloadBudget>,
    accounts: Vec<Account>,
    taken: u64,
    used: u64,
}

impl Charge {
    /// A fetch for `downloader`, if it may fetch anything at all.
    pub(super) fn begin(budget: &Arc<DownloadBudget>, downloader: &Downloader) -> Result<Self, Exhausted> {
        let accounts = downloader.accounts();
        // Only asked for: taken by all who begin at once, it might leave none of them enough to finish.
        budget.take(&accounts, MIN_COST)?;
        budget.give_back(&accounts, MIN_COST);
        Ok(Self { budget: Arc::clone(budget), accounts, taken: 0, used: 0 })
    }

    /// The content will have `bytes` bytes: takes them all, so that nothing is fetched that there is no budget for.
    pub(super) fn announce(&mut self, bytes: u64) -> Result<(), Exhausted> {
        self.take_up_to(bytes.max(MIN_COST))
    }

    /// `bytes` bytes have come in.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), Exhausted> {
        self.used = self.used.saturating_add(bytes);
        self.take_up_to(self.used)
    }

    fn take_up_to(&mut self, bytes: u64) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.taken);
        if more > 0 {
            self.budget.take(&self.accounts, more)?;
            self.taken += more;
        }
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let cost = self.used.max(MIN_COST);
        self.budget.give_back(&self.accounts, self.taken.saturating_sub(cost));
        // When there is not even so much left, the next fetch is refused anyway.
        let _ = self.take_up_to(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn downloader(user: &str, address: &str) -> Downloader {
        Downloader { user: user.parse().ok(), address: address.parse().ok() }
    }

    fn budget() -> (Clock, Arc<DownloadBudget>) {
        let clock = Clock::manual(0);
        (clock.clone(), Arc::new(DownloadBudget::new(clock, 1_000, 10_000)))
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (clock, budget) = budget();
        let alice = downloader("@alice:a.example", "10.0.0.1");
        let spend = |bytes| Charge::begin(&budget, &alice).and_then(|mut charge| charge.spend(bytes));
        spend(5_000).unwrap();
        spend(5_000).unwrap();
        assert_eq!(spend(1), Err(Exhausted { retry_after_ms: MIN_COST }));
        clock.advance(Duration::from_secs(5));
        spend(5_000).unwrap();
        assert!(spend(1).is_err());
    }

    #[test]
    fn what_is_announced_is_taken_at_once_and_what_is_not_used_goes_back() {
        let (_, budget) = budget();
        let alice = downloader("@alice:a.example", "10.0.0.1");
        let mut first = Charge::begin(&budget, &alice).unwrap();
        assert!(first.announce(10_001).is_err());
        first.announce(10_000).unwrap();
        assert!(Charge::begin(&budget, &alice).is_err());
        first.spend(1).unwrap();
        drop(first);
        let mut second = Charge::begin(&budget, &alice).unwrap();
        assert_eq!(second.announce(10_000), Err(Exhausted { retry_after_ms: MIN_COST }));
        second.announce(10_000 - MIN_COST).unwrap();
        assert!(Charge::begin(&budget, &alice).is_err());
        drop(second);
        // Both cost a little, whatever came of them.
        let third = Charge::begin(&budget, &alice).err();
        assert_eq!(third, Some(Exhausted { retry_after_ms: 3 * MIN_COST - 10_000 }));
    }

    #[test]
    fn the_user_and_the_address_are_both_charged() {
        let (_, budget) = budget();
        let spend = |user, address| {
            Charge::begin(&budget, &downloader(user, address)).and_then(|mut charge| charge.spend(10_000))
        };
        spend("@alice:a.example", "10.0.0.1").unwrap();
        spend("@alice:a.example", "10.0.0.2").unwrap_err();
        spend("@bob:a.example", "10.0.0.1").unwrap_err();
        spend("@bob:a.example", "10.0.0.2").unwrap();
        spend("", "2001:db8::1").unwrap();
        spend("", "2001:db8::ffff:0:0:2").unwrap_err();
        spend("", "2001:db8:0:1::1").unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        let (_, budget) = budget();
        for number in 0..MAX_ACCOUNTS + 10 {
            let address = IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
            drop(Charge::begin(&budget, &Downloader { user: None, address: Some(address) }).unwrap());
        }
        assert!(budget.full_at.lock().unwrap().len() <= MAX_ACCOUNTS);
    }
}
