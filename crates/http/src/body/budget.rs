//! How many bytes of bodies may be in memory at once. Budgets are owned by the [`BodyReader`](super::BodyReader).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_protocol::id::{ServerName, UserId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ApiError;

/// The number of a body's first bytes that come out of a part of the budget of their own. Nearly every body is smaller,
/// so that large bodies, however many, never delay the ordinary ones.
pub const SMALL_BODY_BYTES: usize = 64 * 1024;

/// How long a body waits for others to make room before it is refused: shorter than clients and proxies wait.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// When a refused sender may try again, in ms: by then the bodies in the way have been read or have timed out.
const RETRY_AFTER_MS: u64 = 10_000;

/// The sender of a body, as far as it is known when the body is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Not known yet, from this address; `None` if many clients may be behind the address.
    Unknown(Option<IpAddr>),
    /// A user, by an access token.
    User(UserId),
    /// A server, by its signature.
    Server(ServerName),
}

/// How large a budget is, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct BudgetSize {
    /// For the first [`SMALL_BODY_BYTES`] of each body.
    pub small: usize,
    /// The most of `small` that one sender may hold.
    pub small_share: usize,
    /// For the bytes beyond that.
    pub large: usize,
    /// The most of `large` that one sender may hold.
    pub share: usize,
}

/// A bound on the bytes that bodies take together. A body takes its bytes as they arrive, not as they are announced, so
/// that a sender that announces much and sends nothing holds nothing.
#[derive(Debug)]
pub struct ByteBudget {
    clock: Clock,
    size: BudgetSize,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    shares: Mutex<HashMap<Sender, Share>>,
}

/// The bytes that one sender holds.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    small: usize,
    large: usize,
}

/// The bytes that one body holds, until dropped.
#[derive(Debug)]
pub struct HeldBytes {
    budget: Arc<ByteBudget>,
    /// Those whose shares it counts towards. Behind an address that is not known may be many clients, of which nobody
    /// can say who takes more than a share.
    senders: Vec<Sender>,
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
    /// The part of it that counts towards its senders' shares.
    share: Share,
}

impl ByteBudget {
    /// Creates a budget of which nothing is taken.
    pub fn new(size: BudgetSize, clock: Clock) -> Arc<Self> {
        let semaphore = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        let (small, large) = (semaphore(size.small), semaphore(size.large));
        Arc::new(Self { clock, size, small, large, shares: Mutex::default() })
    }

    /// Begins to count a body of `sender`, which holds nothing yet.
    pub fn hold(self: &Arc<Self>, sender: Sender) -> HeldBytes {
        let (budget, senders) = (Arc::clone(self), Vec::new());
        let mut held = HeldBytes { budget, senders, small: None, large: None, share: Share::default() };
        held.count_for(sender);
        held
    }

    /// Whether one body can take `bytes` at once, if its sender's share allows it.
    pub fn has_room(&self, bytes: usize) -> bool {
        let small = bytes.min(SMALL_BODY_BYTES);
        self.small.available_permits() >= small && self.large.available_permits() >= bytes - small
    }

    /// Returns how many bytes bodies hold now.
    pub fn held(&self) -> usize {
        let taken = |size: usize, semaphore: &Semaphore| size.saturating_sub(semaphore.available_permits());
        taken(self.size.small, &self.small) + taken(self.size.large, &self.large)
    }

    async fn take(&self, part: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let bytes = u32::try_from(bytes).map_err(|_| refused())?;
        if let Ok(permit) = Arc::clone(part).try_acquire_many_owned(bytes) {
            return Ok(permit);
        }
        tokio::select! {
            permit = Arc::clone(part).acquire_many_owned(bytes) => permit.map_err(|_| refused()),
            () = self.clock.sleep(MAX_WAIT) => Err(refused()),
        }
    }
}

impl HeldBytes {
    /// Counts what is taken from now on towards the share of `sender` too.
    pub fn count_for(&mut self, sender: Sender) {
        if sender != Sender::Unknown(None) && !self.senders.contains(&sender) {
            self.senders.push(sender);
        }
    }

    /// Takes `more` bytes, waiting a little for others to make room.
    ///
    /// # Errors
    /// `M_LIMIT_EXCEEDED` when there is no room, or the sender holds its share already.
    pub async fn grow(&mut self, more: usize) -> Result<(), ApiError> {
        let budget = Arc::clone(&self.budget);
        let small = more.min(SMALL_BODY_BYTES.saturating_sub(self.share.small));
        let large = more - small;
        if small > 0 {
            self.take_share(Share { small, large: 0 })?;
            merge(&mut self.small, budget.take(&budget.small, small).await?);
        }
        if large > 0 {
            self.take_share(Share { small: 0, large })?;
            merge(&mut self.large, budget.take(&budget.large, large).await?);
        }
        Ok(())
    }

    fn take_share(&mut self, more: Share) -> Result<(), ApiError> {
        let size = self.budget.size;
        let mut shares = self.budget.shares.lock();
        let after = |sender: &Sender| {
            let held = shares.get(sender).copied().unwrap_or_default();
            Share { small: held.small + more.small, large: held.large + more.large }
        };
        let taken: Vec<(Sender, Share)> = self.senders.iter().map(|sender| (sender.clone(), after(sender))).collect();
        let is_too_much =
            |held: &Share| held.small > size.small_share && more.small > 0 || held.large > size.share && more.large > 0;
        if taken.iter().any(|(_, held)| is_too_much(held)) {
            return Err(refused());
        }
        shares.extend(taken);
        self.share.small += more.small;
        self.share.large += more.large;
        Ok(())
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        let mut shares = self.budget.shares.lock();
        for sender in &self.senders {
            let Some(held) = shares.get_mut(sender) else { continue };
            held.small = held.small.saturating_sub(self.share.small);
            held.large = held.large.saturating_sub(self.share.large);
            if held.small == 0 && held.large == 0 {
                shares.remove(sender);
            }
        }
    }
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
}

fn refused() -> ApiError {
    ApiError::limit_exceeded(RETRY_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: BudgetSize =
        BudgetSize { small: 3 * SMALL_BODY_BYTES, small_share: 2 * SMALL_BODY_BYTES, large: 100, share: 60 };

    fn from(last: u8) -> Sender {
        Sender::Unknown(Some([203, 0, 113, last].into()))
    }

    /// Whether the bytes are there at once.
    fn grows(held: &mut HeldBytes, more: usize) -> bool {
        use std::future::Future as _;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(held.grow(more)).as_mut().poll(&mut context).map(|grown| grown.is_ok())
            == std::task::Poll::Ready(true)
    }

    #[test]
    fn bytes_are_taken_as_they_arrive_and_given_back() {
        let budget = ByteBudget::new(SIZE, Clock::manual(0));
        let mut one = budget.hold(from(1));
        assert!(grows(&mut one, 10) && budget.held() == 10);
        assert!(grows(&mut one, SMALL_BODY_BYTES) && budget.held() == SMALL_BODY_BYTES + 10);
        assert_eq!(budget.large.available_permits(), 90);
        drop(one);
        assert_eq!((budget.held(), budget.shares.lock().len()), (0, 0));
    }

    #[test]
    fn one_sender_has_a_share_and_small_bodies_a_part_of_their_own() {
        let budget = ByteBudget::new(SIZE, Clock::manual(0));
        let (mut one, mut again, mut two) = (budget.hold(from(1)), budget.hold(from(1)), budget.hold(from(2)));
        assert!(grows(&mut one, SMALL_BODY_BYTES + 50));
        assert!(!grows(&mut again, SMALL_BODY_BYTES + 11), "more than the share of its sender");
        drop(again);
        assert!(grows(&mut two, SMALL_BODY_BYTES) && grows(&mut two, 50));
        assert_eq!(budget.large.available_permits(), 0);
        drop(two);
        let mut small = budget.hold(from(3));
        assert!(grows(&mut small, SMALL_BODY_BYTES));
        // Nobody knows who is behind a proxy.
        let mut proxied = budget.hold(Sender::Unknown(None));
        drop(small);
        assert!(grows(&mut proxied, SMALL_BODY_BYTES) && grows(&mut proxied, 50));
    }

    #[test]
    fn one_sender_has_a_share_of_the_small_bodies() {
        let budget = ByteBudget::new(SIZE, Clock::manual(0));
        let mut all = [1, 1, 2].map(|last| budget.hold(from(last)));
        assert!(grows(&mut all[0], SMALL_BODY_BYTES) && grows(&mut all[1], SMALL_BODY_BYTES));
        assert!(!grows(&mut budget.hold(from(1)), 1), "more than the share of its sender");
        assert!(grows(&mut all[2], SMALL_BODY_BYTES), "others have room");
        drop(all);
        let mut proxied = [(); 3].map(|()| budget.hold(Sender::Unknown(None)));
        assert!(proxied.iter_mut().all(|held| grows(held, SMALL_BODY_BYTES)));
        drop(proxied);
        assert_eq!((budget.held(), budget.shares.lock().len()), (0, 0));
    }

    #[test]
    fn a_body_counts_towards_all_its_senders_or_none() {
        let budget = ByteBudget::new(SIZE, Clock::manual(0));
        let user = || Sender::User(UserId::try_from("@a:b.example").unwrap());
        let of_user = |last: u8| {
            let mut held = budget.hold(from(last));
            held.count_for(user());
            held
        };
        let (mut one, mut two, mut three) = (of_user(1), of_user(2), of_user(3));
        assert!(grows(&mut one, SMALL_BODY_BYTES) && grows(&mut two, SMALL_BODY_BYTES));
        assert!(!grows(&mut three, 1), "more than the share of the user, at whatever address");
        drop(three);
        assert!(!budget.shares.lock().contains_key(&from(3)));
        drop((one, two));
        assert_eq!((budget.held(), budget.shares.lock().len()), (0, 0));
    }

    #[tokio::test]
    async fn a_body_that_waits_too_long_is_refused() {
        let clock = Clock::manual(0);
        let budget = ByteBudget::new(SIZE, clock.clone());
        let mut all = [1, 2, 3].map(|last| budget.hold(from(last)));
        for held in &mut all {
            assert!(grows(held, SMALL_BODY_BYTES));
        }
        let mut late = budget.hold(from(4));
        let (refused, ()) = tokio::join!(late.grow(1), async {
            tokio::task::yield_now().await;
            clock.advance(MAX_WAIT);
        });
        assert_eq!(refused.unwrap_err().status().as_u16(), 429);
        let (granted, ()) = tokio::join!(late.grow(1), async { drop(all) });
        granted.unwrap();
    }
}
