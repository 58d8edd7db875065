//! A device learns of its own event from the answer to its request before a sync tells it.
//!
//! Both follow the commit within microseconds, over two connections. Clients match the event in the sync by its
//! transaction id, but matrix-js-sdk fails when that comes first for an event in a thread. What arrives in one turn of
//! its event loop it handles in any order, so the device's sync is held back for a moment longer than the answer takes.
//! Sending only notes when it was; who waits is the sync, and only that of a device which has just sent.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_accounts::Requester;
use plexus_base::Clock;
use smallvec::SmallVec;
use tokio::sync::Notify;

/// By how much the answer goes ahead.
const AHEAD: Duration = Duration::from_millis(10);
/// From how many noted devices on those are forgotten whose answers are long under way.
const FORGET_FROM: usize = 1_024;

/// Hash of user and device. A colliding pair waits for each other's answers, which is harmless.
type DeviceHash = u64;

/// The requests by which devices are sending events now, and when they last did.
#[derive(Debug)]
pub struct OwnEchoes {
    clock: Clock,
    hasher: RandomState,
    noted: Mutex<Noted>,
    finished: Notify,
}

#[derive(Debug)]
struct Noted {
    last: u64,
    devices: HashMap<DeviceHash, Device>,
    forget_from: usize,
}

#[derive(Debug, Default)]
struct Device {
    /// The numbers of its requests under way, in order.
    running: SmallVec<[u64; 2]>,
    /// When the last of its requests was done.
    answered_at: Duration,
}

/// A request that sends an event; it is answered right after this is dropped.
#[derive(Debug)]
pub struct Sending {
    echoes: Arc<OwnEchoes>,
    device: DeviceHash,
    number: u64,
}

impl OwnEchoes {
    /// `clock` is the network's time, not one that tests of whole servers move by hand.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let noted = Noted { last: 0, devices: HashMap::new(), forget_from: FORGET_FROM };
        Self { clock, hasher: RandomState::new(), noted: Mutex::new(noted), finished: Notify::new() }
    }

    fn device(&self, requester: &Requester) -> Option<DeviceHash> {
        let device_id = requester.device_id.as_ref()?;
        Some(self.hasher.hash_one((&requester.user_id, device_id)))
    }

    /// Notes a request that sends an event, until its handler is done. `None` for tokens without a device.
    #[must_use]
    pub fn sending(self: &Arc<Self>, requester: &Requester) -> Option<Sending> {
        let device = self.device(requester)?;
        let now = self.clock.monotonic();
        let mut noted = self.noted.lock();
        noted.last += 1;
        let number = noted.last;
        noted.forget(now);
        noted.devices.entry(device).or_default().running.push(number);
        Some(Sending { echoes: Arc::clone(self), device, number })
    }

    /// Waits until the requests that the device is sending events with at this moment, or was just now, are answered.
    pub async fn answered(&self, requester: &Requester) {
        let Some(device) = self.device(requester) else { return };
        let newest = self.noted.lock().last;
        let answered_at = loop {
            let mut finished = pin!(self.finished.notified());
            finished.as_mut().enable();
            match self.noted.lock().devices.get(&device) {
                None => return,
                // Later ones have nothing to do with what this sync tells.
                Some(noted) if noted.running.first().is_none_or(|oldest| *oldest > newest) => break noted.answered_at,
                Some(_) => {}
            }
            finished.await;
        };
        let rest = (answered_at + AHEAD).saturating_sub(self.clock.monotonic());
        if !rest.is_zero() {
            self.clock.sleep(rest).await;
        }
    }
}

impl Noted {
    /// Keeps the map as small as what is sent within [`AHEAD`].
    fn forget(&mut self, now: Duration) {
        if self.devices.len() >= self.forget_from {
            self.devices.retain(|_, device| !device.running.is_empty() || device.answered_at + AHEAD > now);
            self.forget_from = FORGET_FROM.max(self.devices.len() * 2);
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let now = self.echoes.clock.monotonic();
        let mut noted = self.echoes.noted.lock();
        if let Some(device) = noted.devices.get_mut(&self.device) {
            device.running.retain(|number| *number != self.number);
            device.answered_at = now;
        }
        drop(noted);
        self.echoes.finished.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn requester(device: &str) -> Requester {
        Requester {
            user_id: "@alice:example.org".parse().unwrap(),
            device_id: Some(device.to_owned()),
            token_id: 1,
            is_guest: false,
            is_admin: false,
            appservice_id: None,
            suspended: false,
            shadow_banned: false,
            puppeted_by: None,
        }
    }

    /// Whether the future is done, having been polled once.
    fn done(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_sync_waits_for_what_its_device_was_sending_when_it_was_ready() {
        let clock = Clock::manual(0);
        let echoes = Arc::new(OwnEchoes::new(clock.clone()));
        let (phone, laptop) = (requester("PHONE"), requester("LAPTOP"));
        let first = echoes.sending(&phone).unwrap();
        assert!(done(pin!(echoes.answered(&laptop))));
        let mut own = pin!(echoes.answered(&phone));
        assert!(!done(own.as_mut()));
        let later = echoes.sending(&phone);
        clock.advance(Duration::from_secs(1));
        assert!(!done(own.as_mut()), "the handler is not done");
        drop(first);
        assert!(!done(own.as_mut()), "the answer is under way");
        clock.advance(AHEAD - Duration::from_nanos(1));
        assert!(!done(own.as_mut()));
        clock.advance(Duration::from_nanos(1));
        assert!(done(own), "whatever was begun later");
        assert!(!done(pin!(echoes.answered(&phone))));
        drop(later);
    }

    #[test]
    fn a_sync_waits_for_the_rest_of_the_moment_only() {
        let clock = Clock::manual(0);
        let echoes = Arc::new(OwnEchoes::new(clock.clone()));
        let phone = requester("PHONE");
        assert!(done(pin!(echoes.answered(&phone))));
        drop(echoes.sending(&phone));
        clock.advance(AHEAD - Duration::from_millis(1));
        let mut own = pin!(echoes.answered(&phone));
        assert!(!done(own.as_mut()));
        clock.advance(Duration::from_millis(1));
        assert!(done(own));
        assert!(done(pin!(echoes.answered(&phone))), "it is over");
    }

    #[tokio::test]
    async fn a_waiting_sync_is_woken_by_the_end_of_the_handler() {
        let clock = Clock::manual(0);
        let echoes = Arc::new(OwnEchoes::new(clock.clone()));
        let sending = echoes.sending(&requester("PHONE"));
        let waiting = {
            let echoes = Arc::clone(&echoes);
            tokio::spawn(async move { echoes.answered(&requester("PHONE")).await })
        };
        tokio::task::yield_now().await;
        drop(sending);
        tokio::task::yield_now().await;
        clock.advance(AHEAD);
        waiting.await.unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        let clock = Clock::manual(0);
        let echoes = Arc::new(OwnEchoes::new(clock.clone()));
        let held = echoes.sending(&requester("HELD"));
        for number in 0..4 * FORGET_FROM {
            drop(echoes.sending(&requester(&number.to_string())));
            clock.advance(AHEAD);
        }
        assert!(echoes.noted.lock().devices.len() <= FORGET_FROM);
        assert!(!done(pin!(echoes.answered(&requester("HELD")))));
        drop(held);
    }
}
