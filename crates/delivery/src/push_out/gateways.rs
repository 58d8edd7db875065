//! Which push gateways respond, and how many requests each gets at the same time.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use plexus_net::HttpClient;
use plexus_net::push_gateway::{self, PushGatewayError, PushGatewayUrl};
use plexus_protocol::id::UserId;
use plexus_store::repo::pushers::PusherKey;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

/// One of so many outgoing connections may be used for push gateways: most belong to other servers.
const SHARE_OF_CONNECTIONS: usize = 4;
/// One of so many of those may be used for one gateway, and for all gateways that fail: one that hangs leaves the rest
/// to others.
const SHARE_OF_ONE_GATEWAY: usize = 4;
/// One of so many of those may be used for the pushers of one user, who may have many gateways that hang.
const SHARE_OF_ONE_USER: usize = 8;
/// The most gateways, and the most users, that are remembered; of more, those without requests are forgotten.
const MAX_REMEMBERED: usize = 4_096;
/// The most pushers that wait for gateways to recover; more are only tried again after their pauses.
const MAX_WAITING: usize = 50_000;

/// Why a notification was not delivered.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotifyError {
    #[error(transparent)]
    Gateway(#[from] PushGatewayError),
    #[error("its push gateway does not respond")]
    Failing,
}

impl NotifyError {
    /// Whether the gateway may accept another notification: it understood the request, and refused what is in it.
    pub(super) fn may_be_of_content(&self) -> bool {
        matches!(self, Self::Gateway(PushGatewayError::Status(400 | 413 | 422)))
    }
}

/// Sends notifications to push gateways. Owned by the process that delivers.
pub(super) struct Gateways {
    http: Arc<HttpClient>,
    slots: Semaphore,
    /// For gateways that fail: one request at a time to each, and fewer to all of them than there are slots.
    probes: Semaphore,
    slots_per_gateway: usize,
    slots_per_user: usize,
    /// By their origins.
    gateways: Mutex<HashMap<String, Arc<Gateway>>>,
    users: Mutex<HashMap<UserId, Arc<Semaphore>>>,
    waiting: Mutex<WaitingPushers>,
    recovered: mpsc::UnboundedSender<Arc<PusherKey>>,
}

struct Gateway {
    slots: Semaphore,
    probe: Semaphore,
    /// How many requests had a response.
    responses: AtomicU64,
    /// Whether the last request had no response.
    is_failing: AtomicBool,
}

/// The pushers that wait for gateways to recover.
#[derive(Default)]
struct WaitingPushers {
    origins: HashMap<Arc<PusherKey>, String>,
    by_origin: HashMap<String, HashSet<Arc<PusherKey>>>,
}

/// Permission for one request.
struct Permits<'a> {
    _of_gateway: SemaphorePermit<'a>,
    _of_all: SemaphorePermit<'a>,
}

impl Gateways {
    /// Creates the service. The pushers whose gateways have recovered come out of the second value.
    pub(super) fn new(http: Arc<HttpClient>) -> (Self, mpsc::UnboundedReceiver<Arc<PusherKey>>) {
        let slots = (http.max_connections() / SHARE_OF_CONNECTIONS).max(2);
        let slots_per_gateway = (slots / SHARE_OF_ONE_GATEWAY).max(1);
        // Bounded by the number of pushers that wait, each of which waits once.
        let (recovered, receiver) = mpsc::unbounded_channel();
        let gateways = Self {
            http,
            slots: Semaphore::new(slots),
            probes: Semaphore::new(slots_per_gateway),
            slots_per_gateway,
            slots_per_user: (slots / SHARE_OF_ONE_USER).max(1),
            gateways: Mutex::default(),
            users: Mutex::default(),
            waiting: Mutex::default(),
            recovered,
        };
        (gateways, receiver)
    }

    /// Sends a notification to the gateway of a pusher. Returns whether the gateway rejects the pushkey.
    pub(super) async fn notify(
        &self,
        key: &Arc<PusherKey>,
        url: &PushGatewayUrl,
        body: String,
    ) -> Result<bool, NotifyError> {
        let origin = url.origin();
        let gateway = in_use(&self.gateways, &origin, || Gateway::new(self.slots_per_gateway));
        let user = in_use(&self.users, &key.user, || Semaphore::new(self.slots_per_user));
        // The semaphores are never closed.
        let Ok(_of_user) = user.acquire().await else { return Err(NotifyError::Failing) };
        let Some(permits) = self.permits(&gateway).await else {
            self.waiting.lock().insert(key, origin);
            return Err(NotifyError::Failing);
        };
        let responses = gateway.responses.load(Ordering::Acquire);
        let sent = push_gateway::notify(&self.http, url, body).await;
        drop(permits);
        if let Err(PushGatewayError::Http(_)) = sent {
            // One request without a response says nothing where others had one meanwhile.
            if gateway.responses.load(Ordering::Acquire) == responses {
                gateway.is_failing.store(true, Ordering::Release);
                self.waiting.lock().insert(key, origin);
            }
        } else {
            self.forget(key);
            gateway.responses.fetch_add(1, Ordering::AcqRel);
            if gateway.is_failing.swap(false, Ordering::AcqRel) {
                for key in self.waiting.lock().take(&origin) {
                    // Nobody receives them at the end of the program, when nothing is delivered any more.
                    drop(self.recovered.send(key));
                }
            }
        }
        Ok(sent?.contains(&key.pushkey))
    }

    /// Forgets that a pusher waits for its gateway.
    pub(super) fn forget(&self, key: &Arc<PusherKey>) {
        self.waiting.lock().remove(key);
    }

    /// Waits for permission; `None` while the gateway fails and another request tries it.
    async fn permits<'a>(&'a self, gateway: &'a Gateway) -> Option<Permits<'a>> {
        if !gateway.is_failing.load(Ordering::Acquire) {
            let of_gateway = gateway.slots.acquire().await.ok()?;
            let of_all = self.slots.acquire().await.ok()?;
            if !gateway.is_failing.load(Ordering::Acquire) {
                return Some(Permits { _of_gateway: of_gateway, _of_all: of_all });
            }
        }
        let of_gateway = gateway.probe.try_acquire().ok()?;
        let of_all = self.probes.acquire().await.ok()?;
        Some(Permits { _of_gateway: of_gateway, _of_all: of_all })
    }
}

impl Gateway {
    fn new(slots: usize) -> Self {
        Self {
            slots: Semaphore::new(slots),
            probe: Semaphore::new(1),
            responses: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        }
    }
}

/// Returns what is remembered about a gateway or a user.
fn in_use<K: Clone + Eq + Hash, V>(
    remembered: &Mutex<HashMap<K, Arc<V>>>,
    key: &K,
    create: impl FnOnce() -> V,
) -> Arc<V> {
    let mut remembered = remembered.lock();
    if remembered.len() >= MAX_REMEMBERED && !remembered.contains_key(key) {
        remembered.retain(|_, value| Arc::strong_count(value) > 1);
    }
    Arc::clone(remembered.entry(key.clone()).or_insert_with(|| Arc::new(create())))
}

impl WaitingPushers {
    fn insert(&mut self, key: &Arc<PusherKey>, origin: String) {
        self.remove(key);
        if self.origins.len() < MAX_WAITING {
            self.by_origin.entry(origin.clone()).or_default().insert(Arc::clone(key));
            self.origins.insert(Arc::clone(key), origin);
        }
    }

    fn remove(&mut self, key: &Arc<PusherKey>) {
        let Some(origin) = self.origins.remove(key) else { return };
        if let Some(keys) = self.by_origin.get_mut(&origin) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_origin.remove(&origin);
            }
        }
    }

    /// Takes out the pushers that wait for a gateway.
    fn take(&mut self, origin: &str) -> HashSet<Arc<PusherKey>> {
        let keys = self.by_origin.remove(origin).unwrap_or_default();
        for key in &keys {
            self.origins.remove(key);
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Arc<PusherKey> {
        let user = UserId::try_from("@bob:x".to_owned()).expect("a user id");
        Arc::new(PusherKey { user, app_id: "app".to_owned(), pushkey: number.to_string() })
    }

    #[test]
    fn pushers_that_wait_are_bounded_and_leave_nothing_behind() {
        let mut waiting = WaitingPushers::default();
        for number in 0..=MAX_WAITING {
            waiting.insert(&key(number), format!("https://{}.example:443", number % 3));
        }
        assert_eq!(waiting.origins.len(), MAX_WAITING);
        let recovered = waiting.take("https://0.example:443");
        assert!(recovered.contains(&key(3)) && !recovered.contains(&key(4)));
        waiting.insert(&key(4), "http://other.example:80".to_owned());
        assert!(!waiting.take("https://1.example:443").contains(&key(4)));
        for number in 0..=MAX_WAITING {
            waiting.remove(&key(number));
        }
        assert!(waiting.origins.is_empty() && waiting.by_origin.is_empty());
    }
}
