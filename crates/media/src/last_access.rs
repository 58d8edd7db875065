//! When media was last requested: collected in memory, written in batches.

use std::collections::HashMap;

use parking_lot::Mutex;
use plexus_store::repo::media_files::{self, MediaFile};
use plexus_store::{Database, DbError};
use tokio::sync::Notify;

/// How old a recorded request is when another one is noted, in ms: so a file costs one row in an hour at most.
const RESOLUTION_MS: u64 = 3_600_000;
/// The most files whose last request waits to be written. Above it others are not noted until the next flush.
const MAX_PENDING: usize = 20_000;

/// The files requested since the last flush. Each process has its own, and writes the later time.
#[derive(Default)]
pub(crate) struct LastAccess {
    pending: Mutex<HashMap<MediaFile, u64>>,
    noted: Notify,
}

impl LastAccess {
    /// Notes a request for a file, whose last one is recorded with the time `recorded_ms`.
    pub(crate) fn note(&self, file: &MediaFile, recorded_ms: u64, now_ms: u64) {
        if now_ms.saturating_sub(recorded_ms) < RESOLUTION_MS {
            return;
        }
        let mut pending = self.pending.lock();
        if pending.len() >= MAX_PENDING && !pending.contains_key(file) {
            return;
        }
        pending.insert(file.clone(), now_ms);
        drop(pending);
        self.noted.notify_one();
    }

    /// Waits until a request has been noted since the last time.
    pub(crate) async fn noted(&self) {
        self.noted.notified().await;
    }

    /// Writes the noted requests. After an error they are kept for the next time, unless newer ones have come.
    pub(crate) async fn flush(&self, database: &Database) -> Result<(), DbError> {
        let taken = std::mem::take(&mut *self.pending.lock());
        if taken.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = taken.iter().map(|(file, at_ms)| (file.clone(), *at_ms)).collect();
        let written = database.write(move |tx| media_files::set_last_access(tx, &rows)).await;
        if written.is_err() {
            let mut pending = self.pending.lock();
            for (file, at_ms) in taken {
                pending.entry(file).or_insert(at_ms);
            }
        }
        written
    }
}
