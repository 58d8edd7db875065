//! Bounds the searches for keys that unauthenticated requests cause: anybody can name servers that do not respond, as
//! often as they like. Owned by the key ring.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::federation::gates::{Gates, Pass};

/// The most searches at once for one address: more than an honest server or network causes.
const MAX_SEARCHES_PER_ADDRESS: usize = 8;
/// The most searches at once for all addresses. It is also at most a quarter of the connections, so that enough of them
/// are left for requests of this server.
const MAX_SEARCHES: usize = 64;
/// How long a search waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// No key can be searched for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many keys of servers are being searched for")]
pub struct TooManySearches;

/// Bounds the searches.
pub(super) struct SearchLimits {
    by_source: Gates,
    all: Arc<Semaphore>,
    clock: Clock,
}

/// The right to search, until dropped.
pub(super) struct Turn {
    _of_source: Option<Pass>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl SearchLimits {
    pub(super) fn new(max_connections: usize, clock: Clock) -> Self {
        let all = Arc::new(Semaphore::new((max_connections / 4).clamp(1, MAX_SEARCHES)));
        Self { by_source: Gates::new(MAX_SEARCHES_PER_ADDRESS), all, clock }
    }

    /// Waits a little for the turn of a search for a request from `source`; `None` if many may be behind the address.
    pub(super) async fn turn(&self, source: Option<IpAddr>) -> Result<Turn, TooManySearches> {
        let turn = async {
            let of_source = match source {
                Some(source) => Some(self.by_source.enter(&source.to_string()).await),
                None => None,
            };
            // Nobody closes the semaphore.
            Turn { _of_source: of_source, _of_all: Arc::clone(&self.all).acquire_owned().await.ok() }
        };
        tokio::select! {
            biased;
            turn = turn => Ok(turn),
            () = self.clock.sleep(MAX_WAIT) => Err(TooManySearches),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_does_not_take_every_turn_and_nobody_waits_for_long() {
        let clock = Clock::manual(0);
        let limits = SearchLimits::new(4 * (MAX_SEARCHES_PER_ADDRESS + 1), clock.clone());
        let address = |last: u8| Some(IpAddr::from([203, 0, 113, last]));
        let mut turns = Vec::new();
        for _ in 0..MAX_SEARCHES_PER_ADDRESS {
            turns.push(limits.turn(address(1)).await.unwrap());
        }
        let refused = async |source| {
            let (turn, ()) = tokio::join!(limits.turn(source), async {
                tokio::task::yield_now().await;
                clock.advance(MAX_WAIT);
            });
            turn.is_err()
        };
        assert!(refused(address(1)).await);
        let other = limits.turn(address(2)).await.unwrap();
        assert!(refused(address(3)).await && refused(None).await);
        drop(other);
        limits.turn(None).await.unwrap();
        turns.clear();
        limits.turn(address(1)).await.unwrap();
    }
}
