//! A device gets the response to its request that sends an event before a sync shows it the event.
//!
//! It stays because without it matrix-js-sdk (43.0.0) loses messages in threads ("updatePendingEventStatus called on an
//! event which is not a local echo", within a hundred messages), and its queue stalls. It can go once the SDK copes.
//!
//! Response and sync follow the commit within microseconds, over two connections, and the SDK handles what arrives in
//! one turn of its event loop in any order. So the device's sync is held back for a moment longer than the response
//! takes. Sending only records a time; the sync waits, and only the sync of a device that has just sent.

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

/// How much earlier than the sync the response is sent.
const HEAD_START: Duration = Duration::from_millis(10);
/// With this many devices in the map, those are removed that have not sent anything for a moment.
const MIN_DEVICES_FOR_CLEANUP: usize = 1_024;

/// Hash of user and device. Two devices with the same hash wait for each other's responses, which is harmless.
type DeviceHash = u64;

/// The devices that are sending events, or have just done so.
#[derive(Debug)]
pub struct LocalEchoOrder {
    clock: Clock,
    hasher: RandomState,
    senders: Mutex<Senders>,
    finished: Notify,
}

#[derive(Debug)]
struct Senders {
    last_number: u64,
    devices: HashMap<DeviceHash, Device>,
    /// The size of `devices` at which it is cleaned up.
    cleanup_size: usize,
}

#[derive(Debug, Default)]
struct Device {
    /// The numbers of its running requests, in order.
    running: SmallVec<[u64; 2]>,
    /// When the last of its requests was finished.
    finished_at: Duration,
}

/// A request that sends an event; its response is written right after this is dropped.
#[derive(Debug)]
pub struct Sending {
    order: Arc<LocalEchoOrder>,
    device: DeviceHash,
    number: u64,
}

impl LocalEchoOrder {
    /// `clock` must run in real time, as the network does.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let senders = Senders { last_number: 0, devices: HashMap::new(), cleanup_size: MIN_DEVICES_FOR_CLEANUP };
        Self { clock, hasher: RandomState::new(), senders: Mutex::new(senders), finished: Notify::new() }
    }

    fn device(&self, requester: &Requester) -> Option<DeviceHash> {
        let device_id = requester.device_id.as_ref()?;
        Some(self.hasher.hash_one((&requester.user_id, device_id)))
    }

    /// Records a request that sends an event, until the returned value is dropped. `None` for tokens without a device.
    #[must_use]
    pub fn sending(self: &Arc<Self>, requester: &Requester) -> Option<Sending> {
        let device = self.device(requester)?;
        let now = self.clock.monotonic();
        let mut senders = self.senders.lock();
        senders.last_number += 1;
        let number = senders.last_number;
        senders.clean_up(now);
        senders.devices.entry(device).or_default().running.push(number);
        Some(Sending { order: Arc::clone(self), device, number })
    }

    /// Waits until the device has the responses to the requests with which it is sending events, or has just done so.
    pub async fn responses_sent(&self, requester: &Requester) {
        let Some(device) = self.device(requester) else { return };
        let newest = self.senders.lock().last_number;
        let finished_at = loop {
            let mut finished = pin!(self.finished.notified());
            finished.as_mut().enable();
            match self.senders.lock().devices.get(&device) {
                None => return,
                // This sync does not contain the events of later requests.
                Some(it) if it.running.first().is_none_or(|oldest| *oldest > newest) => break it.finished_at,
                Some(_) => {}
            }
            finished.await;
        };
        let rest = (finished_at + HEAD_START).saturating_sub(self.clock.monotonic());
        if !rest.is_zero() {
            self.clock.sleep(rest).await;
        }
    }
}

impl Senders {
    /// Bounds the map to the devices that send within [`HEAD_START`], or twice as many.
    fn clean_up(&mut self, now: Duration) {
        if self.devices.len() >= self.cleanup_size {
            self.devices.retain(|_, device| !device.running.is_empty() || device.finished_at + HEAD_START > now);
            self.cleanup_size = MIN_DEVICES_FOR_CLEANUP.max(self.devices.len() * 2);
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let now = self.order.clock.monotonic();
        let mut senders = self.order.senders.lock();
        if let Some(device) = senders.devices.get_mut(&self.device) {
            device.running.retain(|number| *number != self.number);
            device.finished_at = now;
        }
        drop(senders);
        self.order.finished.notify_waiters();
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
            acting_service: None,
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
    fn a_sync_waits_for_the_requests_that_its_device_was_sending_when_it_was_ready() {
        let clock = Clock::manual(0);
        let order = Arc::new(LocalEchoOrder::new(clock.clone()));
        let (phone, laptop) = (requester("PHONE"), requester("LAPTOP"));
        let first = order.sending(&phone).unwrap();
        assert!(done(pin!(order.responses_sent(&laptop))));
        let mut own = pin!(order.responses_sent(&phone));
        assert!(!done(own.as_mut()));
        let later = order.sending(&phone);
        clock.advance(Duration::from_secs(1));
        assert!(!done(own.as_mut()), "the handler has not finished");
        drop(first);
        assert!(!done(own.as_mut()), "the response is on its way");
        clock.advance(HEAD_START - Duration::from_nanos(1));
        assert!(!done(own.as_mut()));
        clock.advance(Duration::from_nanos(1));
        assert!(done(own), "whatever began later");
        assert!(!done(pin!(order.responses_sent(&phone))));
        drop(later);
    }

    #[test]
    fn a_sync_waits_for_the_rest_of_the_moment_only() {
        let clock = Clock::manual(0);
        let order = Arc::new(LocalEchoOrder::new(clock.clone()));
        let phone = requester("PHONE");
        assert!(done(pin!(order.responses_sent(&phone))));
        drop(order.sending(&phone));
        clock.advance(HEAD_START - Duration::from_millis(1));
        let mut own = pin!(order.responses_sent(&phone));
        assert!(!done(own.as_mut()));
        clock.advance(Duration::from_millis(1));
        assert!(done(own));
        assert!(done(pin!(order.responses_sent(&phone))), "it is over");
    }

    #[tokio::test]
    async fn a_waiting_sync_is_woken_by_the_end_of_the_handler() {
        let clock = Clock::manual(0);
        let order = Arc::new(LocalEchoOrder::new(clock.clone()));
        let sending = order.sending(&requester("PHONE"));
        let waiting = {
            let order = Arc::clone(&order);
            tokio::spawn(async move { order.responses_sent(&requester("PHONE")).await })
        };
        tokio::task::yield_now().await;
        drop(sending);
        tokio::task::yield_now().await;
        clock.advance(HEAD_START);
        waiting.await.unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        let clock = Clock::manual(0);
        let order = Arc::new(LocalEchoOrder::new(clock.clone()));
        let held = order.sending(&requester("HELD"));
        for number in 0..4 * MIN_DEVICES_FOR_CLEANUP {
            drop(order.sending(&requester(&number.to_string())));
            clock.advance(HEAD_START);
        }
        assert!(order.senders.lock().devices.len() <= MIN_DEVICES_FOR_CLEANUP);
        assert!(!done(pin!(order.responses_sent(&requester("HELD")))));
        drop(held);
    }
}
