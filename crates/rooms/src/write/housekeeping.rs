//! Deletes old data.

use std::time::Duration;

use plexus_base::Clock;
use plexus_store::{Database, DbError, Position, repo};

use crate::model::sticky_events::StickyEvents;
use crate::write::censor;

/// The retention of transaction ids, in ms: a day.
const TRANSACTION_RETENTION_MS: u64 = 86_400_000;
/// The retention of the backoff and the keys of a server that has not been contacted since, in ms.
const SILENT_SERVER_RETENTION_MS: u64 = 180 * 86_400_000;
/// The interval between two runs.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(3_600);

/// Deletes old transaction ids, servers that have not been contacted for a long time, the content of redacted events,
/// and sticky events that have expired.
pub struct Housekeeping {
    /// The database.
    pub db: Database,
    /// The clock.
    pub clock: Clock,
    /// The sticky events.
    pub sticky: StickyEvents,
    /// The retention of the content of redacted events; `None` to keep it.
    pub redaction_retention: Option<Duration>,
}

impl Housekeeping {
    /// Runs once an hour. Does not return until the database is closed.
    pub async fn run(self) {
        // No other process follows the log from before the start.
        let mut trimmed_next = self.db.committed();
        loop {
            let upto = std::mem::replace(&mut trimmed_next, self.db.committed());
            if let Err(error) = self.trim_log(upto).await {
                tracing::warn!("old changes could not be deleted: {error}");
            }
            match self.delete_transactions().await.and(self.delete_silent_servers().await) {
                Ok(_) => {}
                Err(DbError::Closed) => return,
                Err(error) => tracing::warn!("old transaction ids and servers could not be deleted: {error}"),
            }
            if let Some(retention) = self.redaction_retention
                && let Err(error) = censor::censor_redacted(&self.db, &self.clock, retention).await
            {
                tracing::warn!("the content of redacted events could not be deleted: {error}");
            }
            if let Err(error) = self.delete_expired_sticky_events().await {
                tracing::warn!("sticky events that have expired could not be deleted: {error}");
            }
            self.clock.sleep(HOUSEKEEPING_INTERVAL).await;
        }
    }

    /// Deletes the changes that were committed before the last run.
    async fn trim_log(&self, upto: Position) -> Result<(), DbError> {
        while !self.db.write(move |tx| repo::other_changes::trim(tx, upto)).await? {}
        Ok(())
    }

    async fn delete_expired_sticky_events(&self) -> Result<(), DbError> {
        if self.sticky.is_empty() {
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        while !self.db.write(move |tx| repo::sticky_events::delete_expired(tx, now_ms)).await? {}
        self.sticky.remove_expired(now_ms);
        Ok(())
    }

    async fn delete_transactions(&self) -> Result<u64, DbError> {
        let before = self.clock.now_ms().saturating_sub(TRANSACTION_RETENTION_MS);
        let delete = self.db.write(move |tx| {
            repo::received::forget_before(tx, before)?;
            repo::transactions::delete_before(tx, before)
        });
        delete.await
    }

    async fn delete_silent_servers(&self) -> Result<u64, DbError> {
        let before = self.clock.now_ms().saturating_sub(SILENT_SERVER_RETENTION_MS);
        let delete = self.db.write(move |tx| {
            repo::server_keys::forget_before(tx, before)?;
            repo::destinations::forget_before(tx, before)
        });
        delete.await
    }
}
