//! How many deliveries run at the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a delivery in a fast slot may take before the destination counts as slow.
pub(super) const FAST_LIMIT: Duration = Duration::from_secs(2);

/// The class of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeliveryClass {
    /// Destinations that answer at once, as far as is known.
    Fast,
    /// Destinations that have kept a delivery waiting, or failed.
    Slow,
}

/// The most deliveries that run at the same time, of each class.
#[derive(Debug, Clone, Copy)]
pub struct SlotLimits {
    /// To destinations that answer at once.
    pub fast: u32,
    /// To destinations that do not.
    pub slow: u32,
}

/// Permission for one delivery.
pub(super) type Slot = OwnedSemaphorePermit;

/// The slots of both classes, so that any number of unreachable destinations leaves slots for the others.
pub(super) struct DeliverySlots {
    fast: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    limits: SlotLimits,
}

impl DeliverySlots {
    pub(super) fn new(limits: SlotLimits) -> Self {
        let slots = |count: u32| Arc::new(Semaphore::new(count as usize));
        Self { fast: slots(limits.fast), slow: slots(limits.slow), limits }
    }

    /// Returns a free slot of the class, if there is one.
    pub(super) fn acquire(&self, class: DeliveryClass) -> Option<Slot> {
        let slots = match class {
            DeliveryClass::Fast => &self.fast,
            DeliveryClass::Slow => &self.slow,
        };
        Arc::clone(slots).try_acquire_owned().ok()
    }

    /// Waits until no delivery is in a fast slot, for [`FAST_LIMIT`] at most.
    #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
    pub(super) async fn finish_fast(&self) {
        let over = self.fast.acquire_many(self.limits.fast);
        // Whether all of them are over or time is, there is nothing else to do.
        drop(tokio::time::timeout(FAST_LIMIT, over).await);
    }
}
