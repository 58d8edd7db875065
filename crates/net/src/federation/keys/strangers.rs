//! How many searches for keys are under way because a stranger named a server. Owned by the key ring.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::federation::gates::{Gates, Pass};

/// The most searches at once for whoever is behind one address: more than an honest server or network causes.
const PER_SOURCE: usize = 8;
/// The most at once for all strangers; no more than a quarter of the connections, so that it is not strangers who
/// decide whom this server can talk to.
const MOST_AT_ONCE: usize = 64;
/// How long a search waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// No key can be looked for now: too many searches that strangers caused are under way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many keys of servers are being looked for")]
pub struct TooManySearches;

/// Bounds the searches. Anybody can name servers that do not answer, as often as they like.
pub(super) struct Strangers {
    by_source: Gates,
    all: Arc<Semaphore>,
    clock: Clock,
}

/// The right to search, until dropped.
pub(super) struct Turn {
    _of_source: Option<Pass>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Strangers {
    pub(super) fn new(max_connections: usize, clock: Clock) -> Self {
        let all = Arc::new(Semaphore::new((max_connections / 4).clamp(1, MOST_AT_ONCE)));
        Self { by_source: Gates::new(PER_SOURCE), all, clock }
    }

    /// Waits a little for the turn of a stranger at `source`; `None` if many may be behind the address.
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
        let strangers = Strangers::new(4 * (PER_SOURCE + 1), clock.clone());
        let address = |last: u8| Some(IpAddr::from([203, 0, 113, last]));
        let mut turns = Vec::new();
        for _ in 0..PER_SOURCE {
            turns.push(strangers.turn(address(1)).await.unwrap());
        }
        let refused = async |source| {
            let (turn, ()) = tokio::join!(strangers.turn(source), async {
                tokio::task::yield_now().await;
                clock.advance(MAX_WAIT);
            });
            turn.is_err()
        };
        assert!(refused(address(1)).await);
        let other = strangers.turn(address(2)).await.unwrap();
        assert!(refused(address(3)).await && refused(None).await);
        drop(other);
        strangers.turn(None).await.unwrap();
        turns.clear();
        strangers.turn(address(1)).await.unwrap();
    }
}
