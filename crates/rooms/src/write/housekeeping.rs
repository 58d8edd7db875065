//! Deletes what nobody needs any more.

use std::time::Duration;

use plexus_base::Clock;
use plexus_store::{Database, DbError, Position, repo};

use crate::write::censor;

/// How long the id of a transaction is kept, in ms: a day.
const TRANSACTION_RETENTION_MS: u64 = 86_400_000;
/// How long the backoff and the keys of a server that was not heard of are kept, in ms.
const SILENT_SERVER_RETENTION_MS: u64 = 180 * 86_400_000;
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(3_600);

/// Deletes old transaction ids, servers that have been silent for long, and the content of redacted events.
pub struct Housekeeping {
    /// The database.
    pub db: Database,
    /// The clock.
    pub clock: Clock,
    /// How long the content of redacted events is kept; `None` for ever.
    pub redaction_retention: Option<Duration>,
}

impl Housekeeping {
    /// Runs once an hour, without end.
    pub async fn run(self) {
        // Nobody follows from before the start, as long as one process serves a database.
        let mut trimmed_next = self.db.committed();
        loop {
            let upto = std::mem::replace(&mut trimmed_next, self.db.committed());
            if let Err(error) = self.trim_log(upto).await {
                tracing::warn!("old changes are kept: {error}");
            }
            match self.delete_transactions().await.and(self.delete_silent_servers().await) {
                Ok(_) => {}
                Err(DbError::Closed) => return,
                Err(error) => tracing::warn!("old transaction ids are kept: {error}"),
            }
            if let Some(retention) = self.redaction_retention
                && let Err(error) = censor::censor_redacted(&self.db, &self.clock, retention).await
            {
                tracing::warn!("redacted events are not censored: {error}");
            }
            self.clock.sleep(HOUSEKEEPING_INTERVAL).await;
        }
    }

    /// Deletes what no process can need any more of the log: what was committed before the last run.
    async fn trim_log(&self, upto: Position) -> Result<(), DbError> {
        while !self.db.write(move |tx| repo::other_changes::trim(tx, upto)).await? {}
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
