//! `GET /_matrix/client/v3/sync`: what is new for a user's device since a token.
//!
//! A request first registers as waiting, then takes the database's position, asks the in-memory index whether anything
//! concerns the user, and only then reads a [`crate::delta::SyncDelta`], which `write` turns into JSON, each room as it
//! is read. A response always covers everything at or before the position that was taken first, however far memory has
//! moved on meanwhile.

mod fields;
mod write;

use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::{LongPoll, Shutdown};
use plexus_protocol::id::UserId;
use plexus_store::DbError;

use crate::delta::{DeltaParts, DeltaReader, DeltaRequest, Now, ProfileFields};
use crate::ephemeral::EphemeralSerial;
use crate::filter::Filter;
use crate::presence::PresenceState;
use crate::token::SyncToken;
use write::{RoomsWriter, response, response_without_changes};

/// The services from which syncs are served.
pub struct SyncParts {
    /// For the reader of deltas.
    pub deltas: DeltaParts,
    /// Numbers changes in typing and presence.
    pub serial: Arc<EphemeralSerial>,
    /// Ends waiting early when the server stops.
    pub shutdown: Shutdown,
}

/// A request to sync.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// The user who syncs.
    pub user: UserId,
    /// `None` for sessions without a device, which get no messages to it.
    pub device: Option<String>,
    /// The token of the last response; `None` for an initial sync.
    pub since: Option<SyncToken>,
    /// The changes that the client wants.
    pub filter: Arc<Filter>,
    /// Whether all state is wanted, changed or not.
    pub full_state: bool,
    /// How long to wait for changes.
    pub timeout: Duration,
    /// The user's presence while the device syncs.
    pub set_presence: PresenceState,
    /// Whether state is that at the end of the timeline (`use_state_after`).
    pub state_after: bool,
    /// Ends waiting early when its connection has to make room for another.
    pub long_poll: LongPoll,
}

/// Why a sync failed.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Serves syncs.
pub struct SyncEngine {
    reader: DeltaReader,
    serial: Arc<EphemeralSerial>,
    shutdown: Shutdown,
}

impl SyncEngine {
    /// Creates the engine of a server, which has one.
    #[must_use]
    pub fn new(parts: SyncParts) -> Self {
        let SyncParts { deltas, serial, shutdown } = parts;
        Self { reader: DeltaReader::new(deltas), serial, shutdown }
    }

    /// Returns the reader of deltas.
    pub fn deltas(&self) -> &DeltaReader {
        &self.reader
    }

    /// Returns the point up to which everything can be read.
    pub fn now(&self) -> Now {
        Now { ephemeral: self.serial.current(), position: self.reader.parts().db.committed() }
    }

    /// Returns the body of the response, JSON. Waits up to the request's timeout when there is nothing new.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sync(&self, request: SyncRequest) -> Result<String, SyncError> {
        let SyncRequest { user, device, since, filter, full_state, timeout, set_presence, state_after, long_poll } =
            request;
        let DeltaParts { clock, notifier, presence, .. } = self.reader.parts();
        let since = since.map(|since| SyncToken { ephemeral: self.serial.seen(since.ephemeral), ..since });
        let followed: &[String] =
            if self.reader.parts().options.include_profile_updates { &filter.profile_fields.ids } else { &[] };
        let profiles = ProfileFields::named(followed);
        let mut request = DeltaRequest { user, device, since, filter, full_state, state_after, profiles, sticky: true };
        let device = request.device.clone().unwrap_or_default();
        let _connected = presence.sync_started(&request.user, &device, set_presence);
        if let Some(since) = &request.since {
            self.reader.acknowledge(&request, since.to_device_position()).await?;
        }
        // Registered before anything is read, so that nothing falls between reading and waiting.
        let wait = notifier.wait(&request.user);
        let _follower = (request.profiles != ProfileFields::None).then(|| notifier.follow_profiles());
        let responds_anyway = request.since.is_none() || request.full_state;
        let mut deadline = pin!(clock.sleep(timeout));
        loop {
            let woken = wait.woken();
            let mut now = self.now();
            if responds_anyway || self.reader.may_have_changes(&request, now) {
                // Boxed: thousands of requests wait in this function, and only few of them read.
                let rooms = RoomsWriter::new(&request, clock.now_ms());
                let mut delta = Box::pin(self.reader.read(&request, now, rooms)).await?;
                if responds_anyway || !delta.is_empty() {
                    let new_members = mem::take(&mut delta.new_members);
                    let upto = delta.upto;
                    let body = response(delta, clock.now_ms());
                    self.reader.record_sent(&request, new_members, upto);
                    return Ok(body);
                }
                now = delta.upto;
            }
            if timeout.is_zero() {
                return Ok(self.without_changes(&request, now).await?);
            }
            // Nothing up to here concerned the user: the next iteration need not look again.
            request.since = Some(now.token());
            let waiting = long_poll.wait();
            tokio::select! {
                () = woken => continue,
                () = self.shutdown.begun() => {}
                () = waiting.must_end() => {}
                () = &mut deadline => {}
            }
            drop(waiting);
            return Ok(self.without_changes(&request, now).await?);
        }
    }

    async fn without_changes(&self, request: &DeltaRequest, now: Now) -> Result<String, DbError> {
        let key_counts = self.reader.key_counts(request).await?;
        Ok(response_without_changes(now.token(), key_counts.as_deref()))
    }
}
