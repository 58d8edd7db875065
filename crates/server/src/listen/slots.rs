//! The open connections: how many of them one address may have, and which makes room for another.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::rate_limiter::{is_shared_by_many, network};
use plexus_base::{Clock, Shutdown};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// One address may have this fraction of all connections: several strangers at once must not shut everybody else out.
const SHARE_OF_ONE_ADDRESS: u32 = 4;
/// One address may have at least this many: a browser opens six, and several people share an address.
const LEAST_OF_ONE_ADDRESS: u32 = 32;

/// How long a connection may take to make room until another is asked.
const SLOT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a long poll waits at least before its connection can be asked to make room. Clients ask again at once, so
/// that otherwise more clients than slots would take them from each other without end.
const LEAST_WAIT: Duration = Duration::from_secs(5);

/// Limits on open connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// The most connections; further ones wait until one has ended.
    pub total: u32,
    /// The most connections of one address; further ones are closed at once.
    pub of_one_address: u32,
    /// Whether addresses of this machine and of private networks count too. They usually belong to a reverse proxy or a
    /// container's gateway, behind which everybody has the same address.
    pub count_private_addresses: bool,
}

impl ConnectionLimits {
    /// Returns the limits for `total` connections.
    pub fn of(total: u32) -> Self {
        let of_one_address = (total / SHARE_OF_ONE_ADDRESS).max(LEAST_OF_ONE_ADDRESS);
        Self { total, of_one_address, count_private_addresses: false }
    }

    /// Returns the address as which a connection from `address` counts: for IPv6 its /64, which is what one customer
    /// gets. `None` if it counts for nobody.
    fn counted_as(&self, address: IpAddr) -> Option<IpAddr> {
        (self.count_private_addresses || !is_shared_by_many(address)).then(|| network(Some(address)))
    }
}

/// The open connections of all listeners. Owned by [`Serving`](super::Serving); each connection holds a [`Slot`].
///
/// When all slots are taken, the connection that has been without a request for longest is asked to end for a new one;
/// if there is none, the one whose requests have waited for changes for longest, which get their responses then. Either
/// still sends the rest of its responses, and serves a request that came meanwhile. Connections with a request that is
/// being handled are never asked: while all are busy, new ones wait.
#[derive(Debug)]
pub(super) struct Slots {
    /// The limits.
    pub limits: ConnectionLimits,
    clock: Clock,
    free: Arc<Semaphore>,
    table: Mutex<Table>,
    /// Notified when a connection has become one that can be asked to make room.
    queued: Notify,
}

#[derive(Debug, Default)]
struct Table {
    of_address: HashMap<IpAddr, u32>,
    /// The connections without a request in progress, the one idle for longest first, with the signal that ends them.
    idle: BTreeMap<u64, Shutdown>,
    /// The connections whose requests all wait, the one that waits for longest first, with the signal that ends them
    /// and the beginning of the wait, on the monotonic clock.
    waiting: BTreeMap<u64, (Shutdown, Duration)>,
    /// The number of the next connection that is added to either.
    next: u64,
}

/// Why a connection may be asked to make room, and its number in [`Table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queued {
    Idle(u64),
    Waiting(u64),
}

/// The way for a new connection to get a slot when all are taken.
enum Room {
    /// A connection was asked to end.
    Asked,
    /// A connection can be asked after this time.
    Later(Duration),
    /// All are busy.
    None,
}

impl Table {
    fn remove(&mut self, queued: Queued) {
        match queued {
            Queued::Idle(number) => drop(self.idle.remove(&number)),
            Queued::Waiting(number) => drop(self.waiting.remove(&number)),
        }
    }

    /// Asks a connection to end, if there is one that may be asked.
    fn make_room(&mut self, now: Duration) -> Room {
        if let Some((_, end)) = self.idle.pop_first() {
            end.begin();
            return Room::Asked;
        }
        let Some(longest) = self.waiting.first_entry() else { return Room::None };
        let left = (longest.get().1 + LEAST_WAIT).saturating_sub(now);
        if !left.is_zero() {
            return Room::Later(left);
        }
        longest.remove().0.begin();
        Room::Asked
    }
}

impl Slots {
    /// Creates the slots; no connection is open yet.
    pub(super) fn new(limits: ConnectionLimits, clock: Clock) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(limits.total as usize));
        Arc::new(Self { limits, clock, free, table: Mutex::default(), queued: Notify::new() })
    }

    /// Waits for a slot for a connection; `None` if `address` has as many as allowed. Without an address (a unix
    /// socket, a proxy) only the total counts.
    pub(super) async fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Slot> {
        let counted = self.count(address.and_then(|address| self.limits.counted_as(address)))?;
        let permit = self.permit().await?;
        let slot = Slot { use_of: Mutex::default(), end: Shutdown::default(), counted, _permit: permit };
        slot.change(|_| {});
        Some(slot)
    }

    fn count(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Counted> {
        if let Some(address) = address {
            let mut table = self.table.lock();
            let open = table.of_address.entry(address).or_default();
            if *open >= self.limits.of_one_address {
                return None;
            }
            *open += 1;
        }
        Some(Counted { slots: Arc::clone(self), address })
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return Some(permit);
            }
            let now = self.clock.monotonic();
            let made = self.table.lock().make_room(now);
            // The connection that was asked may have much left to send, or have begun another request.
            let patience = async {
                match made {
                    Room::Asked => self.clock.sleep(SLOT_TIMEOUT).await,
                    Room::Later(left) => self.clock.sleep(left).await,
                    Room::None => std::future::pending().await,
                }
            };
            tokio::select! {
                permit = Arc::clone(&self.free).acquire_owned() => return permit.ok(),
                () = patience => {}
                () = self.queued.notified(), if !matches!(made, Room::Asked) => {}
            }
        }
    }

    /// Waits until all connections have ended.
    pub(super) async fn all_ended(&self) {
        // A connection holds a permit while it is open; the semaphore is never closed.
        let _ = self.free.acquire_many(self.limits.total).await;
    }
}

/// A connection counts for its address as long as this exists.
#[derive(Debug)]
struct Counted {
    slots: Arc<Slots>,
    address: Option<IpAddr>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut table = self.slots.table.lock();
        if let Some(open) = table.of_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                table.of_address.remove(&address);
            }
        }
    }
}

/// The slot of one open connection; free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    use_of: Mutex<Use>,
    /// Begins when the connection has to make room.
    end: Shutdown,
    counted: Counted,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Use {
    /// Requests in progress.
    requests: u32,
    /// How many of them wait for changes.
    waiting: u32,
    /// Whether the connection may be asked to make room.
    queued: Option<Queued>,
}

impl Slot {
    /// Changes the requests in progress, and with them whether the connection may be asked to make room.
    fn change(&self, change: impl FnOnce(&mut Use)) {
        let mut use_of = self.use_of.lock();
        let before = (use_of.requests == 0, use_of.requests == use_of.waiting, use_of.queued.is_some());
        change(&mut use_of);
        let (idle, waiting) = (use_of.requests == 0, use_of.requests == use_of.waiting);
        if before == (idle, waiting, idle || waiting) {
            return;
        }
        let slots = &self.counted.slots;
        let mut table = slots.table.lock();
        if let Some(queued) = use_of.queued.take() {
            table.remove(queued);
        }
        // A connection that was asked to end is not asked again.
        if (!idle && !waiting) || self.end.has_begun() {
            return;
        }
        let number = table.next;
        table.next += 1;
        use_of.queued = Some(if idle {
            table.idle.insert(number, self.end.clone());
            Queued::Idle(number)
        } else {
            table.waiting.insert(number, (self.end.clone(), slots.clock.monotonic()));
            Queued::Waiting(number)
        });
        slots.queued.notify_one();
    }

    /// Records that a request has begun.
    pub(super) fn begin_request(&self) {
        self.change(|it| it.requests += 1);
    }

    /// Records that the response to a request has been handed to the network, or that the request is cancelled.
    pub(super) fn end_request(&self) {
        self.change(|it| it.requests = it.requests.saturating_sub(1));
    }

    /// Records that a request begins to wait for changes. Returns the signal at which it has to be answered.
    pub(super) fn begin_wait(&self) -> Shutdown {
        self.change(|it| it.waiting += 1);
        self.end.clone()
    }

    /// Records that a request waits no longer.
    pub(super) fn end_wait(&self) {
        self.change(|it| it.waiting = it.waiting.saturating_sub(1));
    }

    /// Whether a request is in progress.
    pub(super) fn is_busy(&self) -> bool {
        self.use_of.lock().requests > 0
    }

    /// Whether a request is in progress that does not wait for changes.
    pub(super) fn is_handling(&self) -> bool {
        let use_of = self.use_of.lock();
        use_of.requests > use_of.waiting
    }

    /// Waits until the connection has to make room for another.
    pub(super) async fn must_end(&self) {
        self.end.begun().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(queued) = self.use_of.lock().queued.take() {
            self.counted.slots.table.lock().remove(queued);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    fn slots(total: u32, of_one_address: u32) -> Arc<Slots> {
        Slots::new(ConnectionLimits { total, of_one_address, count_private_addresses: false }, Clock::manual(0))
    }

    fn counted_as(address: &str) -> Option<String> {
        ConnectionLimits::of(1_000).counted_as(address.parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn an_address_counts_as_its_owner() {
        assert_eq!(counted_as("203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(counted_as("::ffff:203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(counted_as("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::"));
        for private in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "172.17.0.1",
            "10.1.2.3",
            "100.64.3.4",
            "fd00::1",
            "fe80::1",
        ] {
            assert_eq!(counted_as(private), None, "{private}");
        }
        let limits = ConnectionLimits { count_private_addresses: true, ..ConnectionLimits::of(1_000) };
        assert!(limits.counted_as("127.0.0.1".parse().unwrap()).is_some());
    }

    #[test]
    fn the_limit_of_an_address_is_a_share_with_a_floor() {
        assert_eq!(ConnectionLimits::of(560).of_one_address, 140);
        assert_eq!(ConnectionLimits::of(10).of_one_address, LEAST_OF_ONE_ADDRESS);
    }

    #[test]
    fn one_address_cannot_have_all() {
        let slots = slots(10, 2);
        let (one, other): (IpAddr, IpAddr) = ("203.0.113.7".parse().unwrap(), "203.0.113.8".parse().unwrap());
        let first = now(slots.admit(Some(one))).unwrap();
        let _second = now(slots.admit(Some(one))).unwrap();
        assert!(now(slots.admit(Some(one))).unwrap().is_none());
        assert!(now(slots.admit(Some(other))).unwrap().is_some());
        assert!(now(slots.admit(None)).unwrap().is_some());
        drop(first);
        assert!(now(slots.admit(Some(one))).unwrap().is_some());
        assert_eq!(slots.table.lock().of_address.len(), 1, "what has ended leaves nothing behind");
    }

    #[test]
    fn the_longest_idle_makes_room() {
        let slots = slots(3, 100);
        let [first, second, third] = [(); 3].map(|()| now(slots.admit(None)).unwrap().unwrap());
        // The first has had a request since, so the second is idle for longest; the third is busy.
        first.begin_request();
        first.end_request();
        third.begin_request();
        let mut waiting = pin!(slots.admit(None));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(now(first.must_end()).is_none());
        assert!(now(third.must_end()).is_none());
        assert!(now(second.must_end()).is_some());
        drop(second);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn another_makes_room_if_one_takes_long() {
        let slots = slots(2, 100);
        let [first, second] = [(); 2].map(|()| now(slots.admit(None)).unwrap().unwrap());
        let mut waiting = pin!(slots.admit(None));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        // A request begins just when it is asked to end.
        first.begin_request();
        assert!(now(first.must_end()).is_some() && first.is_busy());
        first.end_request();
        assert!(first.use_of.lock().queued.is_none() && slots.table.lock().idle.len() == 1, "it is not asked again");
        assert!(now(second.must_end()).is_none());
        slots.clock.advance(SLOT_TIMEOUT);
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(now(second.must_end()).is_some());
        drop(second);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_long_poll_makes_room_when_nothing_is_idle() {
        let slots = slots(3, 100);
        let [first, second, third] = [(); 3].map(|()| now(slots.admit(None)).unwrap().unwrap());
        for slot in [&first, &second, &third] {
            slot.begin_request();
        }
        let asked = first.begin_wait();
        slots.clock.advance(LEAST_WAIT / 2);
        // One of the second's two requests is worked on.
        second.begin_request();
        second.begin_wait();
        let mut waiting = pin!(slots.admit(None));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(!asked.has_begun(), "it has not waited long enough");
        slots.clock.advance(LEAST_WAIT / 2);
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(asked.has_begun() && now(first.must_end()).is_some());
        slots.clock.advance(LEAST_WAIT);
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(now(second.must_end()).is_none() && now(third.must_end()).is_none());
        first.end_wait();
        first.end_request();
        drop(first);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        drop((second, third));
        assert!(slots.table.lock().waiting.is_empty() && slots.table.lock().idle.len() <= 1);
    }

    #[test]
    fn idle_connections_make_room_before_long_polls() {
        let slots = slots(2, 100);
        let [first, second] = [(); 2].map(|()| now(slots.admit(None)).unwrap().unwrap());
        first.begin_request();
        let asked = first.begin_wait();
        slots.clock.advance(LEAST_WAIT);
        let mut waiting = pin!(slots.admit(None));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(now(second.must_end()).is_some() && !asked.has_begun());
    }

    #[test]
    fn busy_connections_stay_until_they_are_done() {
        let slots = slots(2, 100);
        let [first, second] = [(); 2].map(|()| now(slots.admit(None)).unwrap().unwrap());
        first.begin_request();
        second.begin_request();
        second.begin_request();
        let mut waiting = pin!(slots.admit(None));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        second.end_request();
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(now(second.must_end()).is_none(), "one of its two requests goes on");
        second.end_request();
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(now(second.must_end()).is_some());
        drop(second);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        assert!(slots.table.lock().idle.len() <= 1);
    }
}
