//! Limits the bytes of other servers' media that each downloader may have fetched (`remote_media_download_per_second`
//! and `remote_media_download_burst_count`).

use std::net::IpAddr;

use plexus_base::rate_limiter::network;
use plexus_base::{Clock, LimitExceeded, RateLimiter, Reservation};
use plexus_protocol::id::UserId;

/// The least that a fetch costs, in bytes: every file takes a block of the disk and a row.
const MIN_COST: u64 = 4096;

/// A client who asks for media of other servers.
#[derive(Debug, Clone, Default)]
pub struct Downloader {
    /// The user, when there is an access token.
    pub user: Option<UserId>,
    /// The client's address; `None` on a unix socket.
    pub address: Option<IpAddr>,
}

/// The account that a fetch is charged to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Account {
    User(UserId),
    Address(IpAddr),
}

impl Downloader {
    /// Returns the accounts of the user and of the address: neither many sessions of a user nor many users of one
    /// address get more than one would.
    fn accounts(&self) -> impl Iterator<Item = Account> {
        let user = self.user.clone().map(Account::User);
        user.into_iter().chain([Account::Address(network(self.address))])
    }

    /// Returns a key under which this downloader is counted.
    pub(super) fn name(&self) -> String {
        match &self.user {
            Some(user) => user.to_string(),
            None => network(self.address).to_string(),
        }
    }
}

/// The bytes that each account may have fetched. Owned by `Downloads`.
#[derive(Debug)]
pub(super) struct DownloadBudget(RateLimiter<Account>);

impl DownloadBudget {
    pub(super) fn new(clock: Clock, per_second: u64, burst: u64) -> Self {
        Self(RateLimiter::new(clock, per_second as f64, burst as f64))
    }

    /// Checks whether `downloader` may fetch anything at all. Nothing is taken: if all fetches that begin at once took
    /// from the budget, none might have enough left to finish.
    pub(super) fn check(&self, downloader: &Downloader) -> Result<(), LimitExceeded> {
        downloader.accounts().try_for_each(|account| self.0.peek_amount(&account, MIN_COST))
    }

    /// Begins to charge a fetch to `downloader`; nothing is taken yet.
    pub(super) fn charge(&self, downloader: &Downloader) -> Charge<'_> {
        let reservations = downloader.accounts().map(|account| self.0.reservation(&account)).collect();
        Charge { reservations, used: 0 }
    }
}

/// The bytes that one fetch has taken from each account. What it did not use goes back when this is dropped.
pub(super) struct Charge<'a> {
    reservations: Vec<Reservation<'a>>,
    used: u64,
}

impl Charge<'_> {
    /// Takes the `bytes` bytes that the content will have, so that nothing is fetched for which there is no budget.
    pub(super) fn announce(&mut self, bytes: u64) -> Result<(), LimitExceeded> {
        self.take_up_to(bytes.max(MIN_COST))
    }

    /// Records that `bytes` bytes have been received.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), LimitExceeded> {
        self.used = self.used.saturating_add(bytes);
        self.take_up_to(self.used)
    }

    /// Takes up to `bytes` bytes from each account. If one has too little, what the others gave goes back at the end of
    /// the fetch.
    fn take_up_to(&mut self, bytes: u64) -> Result<(), LimitExceeded> {
        self.reservations.iter_mut().try_for_each(|reservation| reservation.raise_to(bytes))
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        let cost = self.used.max(MIN_COST);
        for reservation in &mut self.reservations {
            reservation.lower_to(cost);
            // When there is not even so much left, the next fetch is refused anyway.
            let _ = reservation.raise_to(cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn downloader(user: &str, address: &str) -> Downloader {
        Downloader { user: user.parse().ok(), address: address.parse().ok() }
    }

    fn budget() -> (Clock, DownloadBudget) {
        let clock = Clock::manual(0);
        (clock.clone(), DownloadBudget::new(clock, 1_000, 10_000))
    }

    fn begin<'a>(budget: &'a DownloadBudget, downloader: &Downloader) -> Result<Charge<'a>, LimitExceeded> {
        budget.check(downloader)?;
        Ok(budget.charge(downloader))
    }

    fn wait_ms(millis: u64) -> LimitExceeded {
        LimitExceeded { retry_after: Duration::from_millis(millis) }
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (clock, budget) = budget();
        let alice = downloader("@alice:a.example", "10.0.0.1");
        let spend = |bytes| begin(&budget, &alice).and_then(|mut charge| charge.spend(bytes));
        spend(5_000).unwrap();
        spend(5_000).unwrap();
        assert_eq!(spend(1), Err(wait_ms(MIN_COST)));
        clock.advance(Duration::from_secs(5));
        spend(5_000).unwrap();
        assert!(spend(1).is_err());
    }

    #[test]
    fn announced_bytes_are_taken_at_once_and_unused_ones_returned() {
        let (_, budget) = budget();
        let alice = downloader("@alice:a.example", "10.0.0.1");
        let mut first = begin(&budget, &alice).unwrap();
        assert!(first.announce(10_001).is_err());
        first.announce(10_000).unwrap();
        assert!(begin(&budget, &alice).is_err());
        first.spend(1).unwrap();
        drop(first);
        let mut second = begin(&budget, &alice).unwrap();
        assert_eq!(second.announce(10_000), Err(wait_ms(MIN_COST)));
        second.announce(10_000 - MIN_COST).unwrap();
        assert!(begin(&budget, &alice).is_err());
        drop(second);
        // Both cost a little, whatever came of them.
        let third = begin(&budget, &alice).err();
        assert_eq!(third, Some(wait_ms(3 * MIN_COST - 10_000)));
    }

    #[test]
    fn the_user_and_the_address_are_both_charged() {
        let (_, budget) = budget();
        let spend =
            |user, address| begin(&budget, &downloader(user, address)).and_then(|mut charge| charge.spend(10_000));
        spend("@alice:a.example", "10.0.0.1").unwrap();
        spend("@alice:a.example", "10.0.0.2").unwrap_err();
        spend("@bob:a.example", "10.0.0.1").unwrap_err();
        spend("@bob:a.example", "10.0.0.2").unwrap();
        spend("", "2001:db8::1").unwrap();
        spend("", "2001:db8::ffff:0:0:2").unwrap_err();
        spend("", "2001:db8:0:1::1").unwrap();
    }

    #[test]
    fn requests_without_an_address_have_a_budget_too() {
        let (_, budget) = budget();
        begin(&budget, &downloader("", "")).unwrap().spend(10_000).unwrap();
        assert!(begin(&budget, &downloader("", "")).is_err());
        assert!(begin(&budget, &downloader("", "10.0.0.1")).is_ok());
    }

    #[test]
    fn an_old_announcement_does_not_pay_for_later_bytes() {
        let (clock, budget) = budget();
        let alice = downloader("@alice:a.example", "10.0.0.1");
        let mut never_arrives = begin(&budget, &alice).unwrap();
        never_arrives.announce(10_000).unwrap();
        clock.advance(Duration::from_secs(10));
        begin(&budget, &alice).unwrap().spend(10_000).unwrap();
        drop(never_arrives);
        assert_eq!(begin(&budget, &alice).err(), Some(wait_ms(MIN_COST)));
    }
}
