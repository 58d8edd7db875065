//! Pushers as destinations of an outbox.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use plexus_store::repo::pushers::{self, PusherKey};
use plexus_store::{Database, DbError, Position, Tx};
use tokio::sync::{Mutex, mpsc};

use super::badge::BadgeUpdate;
use super::log::{PushRecipients, PushedEvent};
use super::owners::PushOwners;
use super::send::PushSender;
use crate::outbox::{
    Behind, CameBack, Cursors, DestinationKind, Due, LogChunk, Outcome, Progress, Retry, SlotLimits, Turn,
};

/// How many pushers have a turn at the same time. The requests to gateways are bounded by `gateways`.
pub(super) const SLOTS: SlotLimits = SlotLimits { fast: 1_024, slow: 4_096 };
/// The most events that are looked at in one turn.
const MAX_EVENTS: usize = 20;
/// How long to wait when the database fails.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Pushers.
pub(super) struct Pushers {
    pub(super) db: Database,
    pub(super) owners: Arc<PushOwners>,
    pub(super) sender: PushSender,
    /// The pushers whose gateways have recovered.
    pub(super) recovered: Mutex<mpsc::UnboundedReceiver<Arc<PusherKey>>>,
}

impl DestinationKind for Pushers {
    type Key = Arc<PusherKey>;
    type Content = PushedEvent;
    type Recipients = PushRecipients;
    type Extras = BadgeUpdate;

    const MAX_DUE: usize = MAX_EVENTS;
    const DESTINATIONS: &'static str = "pushers";
    const KEEPS_CURSORS_OF_SLOW: bool = true;

    async fn load_cursors(&self) -> Result<Cursors<Arc<PusherKey>, BadgeUpdate>, DbError> {
        let committed = self.db.committed();
        let position = match self.db.read(pushers::position).await? {
            Some(position) => position,
            None => self.db.write(move |tx| pushers::resume(tx, committed)).await.map(|()| committed)?,
        };
        let active = self.owners.load().await?;
        if active.is_empty() {
            // Nobody misses anything.
            return Ok(Cursors { position: committed, behind: Vec::new(), extras: Vec::new() });
        }
        let behind = active.into_iter().filter_map(|pusher| {
            let cursor = pusher.behind_at?;
            Some(Behind { key: pusher.key, cursor, stored: Some(cursor), away: true })
        });
        Ok(Cursors { position, behind: behind.collect(), extras: Vec::new() })
    }

    async fn store_progress(&self, progress: Arc<Progress<Arc<PusherKey>>>) -> Result<(), DbError> {
        let Progress { position, .. } = *progress;
        let write = move |tx: &mut Tx<'_>| pushers::set_progress(tx, position, &progress.behind, &progress.caught_up);
        self.db.write(write).await
    }

    fn committed(&self) -> Position {
        self.db.committed()
    }

    async fn read_log(
        &self,
        after: Position,
        upto: Position,
    ) -> Result<LogChunk<PushedEvent, PushRecipients>, DbError> {
        self.sender.log.read(after, upto).await
    }

    async fn catch_up(
        &self,
        key: &Arc<PusherKey>,
        after: Position,
        upto: Position,
    ) -> Result<Due<PushedEvent>, DbError> {
        self.sender.log.of_user(&key.user, after, upto).await
    }

    async fn deliver(&self, turn: &Turn<Arc<PusherKey>, BadgeUpdate>, due: Due<PushedEvent>) -> Outcome<BadgeUpdate> {
        match self.sender.send(turn, due).await {
            Ok(outcome) => {
                if matches!(outcome, Outcome::Abandoned) {
                    self.sender.forget(&turn.key);
                }
                outcome
            }
            Err(error) => self.failed(&turn.key, error.into()),
        }
    }

    fn failed(&self, _key: &Arc<PusherKey>, error: Box<dyn Error + Send + Sync>) -> Outcome<BadgeUpdate> {
        Outcome::Failed { error, retry: Retry::After(DATABASE_RETRY_AFTER) }
    }

    async fn came_back(&self) -> CameBack<Arc<PusherKey>> {
        match self.recovered.lock().await.recv().await {
            Some(key) => CameBack { key, is_up: true },
            None => std::future::pending().await,
        }
    }
}
