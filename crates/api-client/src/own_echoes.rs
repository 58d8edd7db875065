//! A device learns of its own event from the answer to its request before a sync tells it.
//!
//! Both follow the commit within microseconds, over two connections. Clients match the event in the sync by its
//! transaction id, but matrix-js-sdk fails when that comes first for an event in a thread. What arrives in one turn of
//! its event loop it handles in any order, so the device's sync is held back for a moment longer than the answer takes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plexus_accounts::Requester;
use plexus_protocol::id::UserId;
use tokio::sync::Notify;

/// By how much the answer goes ahead.
const AHEAD: Duration = Duration::from_millis(10);

type Device = (UserId, String);

/// The requests by which devices are sending events now.
#[derive(Debug, Default)]
pub struct OwnEchoes {
    running: Mutex<Running>,
    finished: Notify,
}

#[derive(Debug, Default)]
struct Running {
    last: u64,
    by_device: HashMap<Device, BTreeSet<u64>>,
}

/// A request that sends an event; it is answered right after this is dropped.
#[derive(Debug)]
pub struct Sending {
    echoes: Arc<OwnEchoes>,
    device: Device,
    number: u64,
}

impl OwnEchoes {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request that sends an event, until its handler is done. `None` for tokens without a device.
    #[must_use]
    pub fn sending(self: &Arc<Self>, requester: &Requester) -> Option<Sending> {
        let device = (requester.user_id.clone(), requester.device_id.clone()?);
        let mut running = self.running();
        running.last += 1;
        let number = running.last;
        running.by_device.entry(device.clone()).or_default().insert(number);
        Some(Sending { echoes: Arc::clone(self), device, number })
    }

    /// Waits until the requests that the device is sending events with at this moment, or was just now, are answered.
    pub async fn answered(&self, requester: &Requester) {
        let Some(device_id) = &requester.device_id else { return };
        let device = (requester.user_id.clone(), device_id.clone());
        let newest = self.running().last;
        loop {
            let finished = self.finished.notified();
            let oldest = self.running().by_device.get(&device).and_then(|numbers| numbers.first().copied());
            if oldest.is_none_or(|oldest| oldest > newest) {
                return;
            }
            finished.await;
        }
    }
}

impl OwnEchoes {
    fn finish(&self, device: &Device, number: u64) {
        let mut running = self.running();
        if let Some(numbers) = running.by_device.get_mut(device) {
            numbers.remove(&number);
            if numbers.is_empty() {
                running.by_device.remove(device);
            }
        }
        drop(running);
        self.finished.notify_waiters();
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let (echoes, device, number) = (Arc::clone(&self.echoes), self.device.clone(), self.number);
        // The network's time, not the clock's that tests move by hand.
        tokio::spawn(async move {
            tokio::time::sleep(AHEAD).await;
            echoes.finish(&device, number);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
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

    #[tokio::test]
    async fn a_sync_waits_for_what_its_device_was_sending_when_it_was_ready() {
        let echoes = Arc::new(OwnEchoes::default());
        let (phone, laptop) = (requester("PHONE"), requester("LAPTOP"));
        let mut context = Context::from_waker(Waker::noop());
        let first = echoes.sending(&phone).unwrap();
        let mut other = pin!(echoes.answered(&laptop));
        assert_eq!(other.as_mut().poll(&mut context), Poll::Ready(()));
        let mut own = pin!(echoes.answered(&phone));
        assert_eq!(own.as_mut().poll(&mut context), Poll::Pending);
        let later = echoes.sending(&phone);
        drop(first);
        // The answer is under way.
        assert_eq!(own.as_mut().poll(&mut context), Poll::Pending);
        own.await;
        drop(later);
        echoes.answered(&phone).await;
        assert!(echoes.running().by_device.is_empty());
    }
}
