//! Which push gateways respond, and how many requests each gets at the same time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use plexus_net::HttpClient;
use plexus_net::push_gateway::{self, PushGatewayError, PushGatewayUrl};
use plexus_store::repo::pushers::PusherKey;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

/// One of so many outgoing connections may be used for push gateways: most belong to other servers.
const SHARE_OF_CONNECTIONS: usize = 4;
/// One of so many of those may be used for one gateway: one that hangs leaves the rest to others.
const SHARE_OF_ONE_GATEWAY: usize = 4;
/// The most gateways that are remembered; of more, those without requests are forgotten.
const MAX_GATEWAYS: usize = 4_096;

/// Why a notification was not delivered.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotifyError {
    #[error(transparent)]
    Gateway(#[from] PushGatewayError),
    #[error("its push gateway does not respond")]
    Failing,
}

/// Sends notifications to push gateways. Owned by the process that delivers.
pub(super) struct Gateways {
    http: Arc<HttpClient>,
    slots: Semaphore,
    /// For gateways that fail: one request at a time to each, and fewer to all of them than there are slots.
    probes: Semaphore,
    slots_per_gateway: usize,
    gateways: Mutex<HashMap<String, Arc<Gateway>>>,
    recovered: mpsc::UnboundedSender<Arc<PusherKey>>,
}

struct Gateway {
    slots: Semaphore,
    probe: Semaphore,
    /// Whether the last request had no response.
    is_failing: AtomicBool,
    /// The pushers that wait for it to recover.
    waiting: Mutex<HashSet<Arc<PusherKey>>>,
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
        // Bounded by the number of pushers, each of which waits once.
        let (recovered, receiver) = mpsc::unbounded_channel();
        let gateways = Self {
            http,
            slots: Semaphore::new(slots),
            probes: Semaphore::new(slots_per_gateway),
            slots_per_gateway,
            gateways: Mutex::default(),
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
        let gateway = self.gateway(url.authority());
        let Some(permits) = self.permits(&gateway).await else {
            gateway.waiting.lock().insert(Arc::clone(key));
            return Err(NotifyError::Failing);
        };
        let sent = push_gateway::notify(&self.http, url, body).await;
        drop(permits);
        if let Err(PushGatewayError::Http(_)) = sent {
            gateway.is_failing.store(true, Ordering::Release);
            gateway.waiting.lock().insert(Arc::clone(key));
        } else {
            self.responded(&gateway, key);
        }
        Ok(sent?.contains(&key.pushkey))
    }

    fn responded(&self, gateway: &Gateway, key: &Arc<PusherKey>) {
        let was_failing = gateway.is_failing.swap(false, Ordering::AcqRel);
        let mut waiting = gateway.waiting.lock();
        waiting.remove(key);
        if was_failing {
            for key in waiting.drain() {
                // Nobody receives them at the end of the program, when nothing is delivered any more.
                drop(self.recovered.send(key));
            }
        }
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
        let of_all = self.probes.try_acquire().ok()?;
        Some(Permits { _of_gateway: of_gateway, _of_all: of_all })
    }

    fn gateway(&self, authority: &str) -> Arc<Gateway> {
        let mut gateways = self.gateways.lock();
        if gateways.len() >= MAX_GATEWAYS && !gateways.contains_key(authority) {
            gateways.retain(|_, gateway| Arc::strong_count(gateway) > 1);
        }
        let gateway = gateways.entry(authority.to_owned()).or_insert_with(|| {
            Arc::new(Gateway {
                slots: Semaphore::new(self.slots_per_gateway),
                probe: Semaphore::new(1),
                is_failing: AtomicBool::new(false),
                waiting: Mutex::default(),
            })
        });
        Arc::clone(gateway)
    }
}
