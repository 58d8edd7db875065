//! `GET /sync`: what is new for a user's device since a token.
//!
//! A request first registers as waiting, then takes the database's position, asks the in-memory index whether anything
//! concerns the user, and only then puts an answer together. What is told is always everything at or before the position
//! that was taken first, however far memory has moved on meanwhile.

mod account_data;
mod build;
mod devices;
mod fields;
mod joined;
mod lazy;
mod left;
mod news;
mod people;
mod state;
mod stripped;
mod summary;
mod timeline;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Clock, LongPoll, Shutdown};
use plexus_protocol::id::UserId;
use plexus_rooms::Rooms;
use plexus_store::{Database, DbError, Position};

use crate::ephemeral::EphemeralSerial;
use crate::filter::Filter;
use crate::notifier::Notifier;
use crate::presence::{Presence, PresenceState};
use crate::receipts::Receipts;
use crate::settings::SettingsCache;
use crate::token::SyncToken;
use crate::typing::Typing;
use crate::unread::UnreadCounts;
use build::Build;
use devices::KeyCounts;
use lazy::SentMembers;

/// What a sync reads from.
pub struct SyncParts {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub notifier: Arc<Notifier>,
    pub serial: Arc<EphemeralSerial>,
    pub typing: Arc<Typing>,
    pub presence: Arc<Presence>,
    pub receipts: Arc<Receipts>,
    pub unread: Arc<UnreadCounts>,
    pub settings: Arc<SettingsCache>,
    pub options: SyncOptions,
    /// Ends waiting early when the server stops.
    pub shutdown: Shutdown,
}

/// The options of homeserver.yaml that concern syncs.
#[derive(Debug, Clone, Default)]
pub struct SyncOptions {
    /// `exclude_rooms_from_sync`
    pub exclude_rooms: HashSet<String>,
    /// `filter_timeline_limit`: the most timeline events of a room in one answer; `None`: no bound but the filter's.
    pub timeline_limit: Option<u64>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    pub user: UserId,
    /// `None` for sessions without a device, which get no messages to it.
    pub device: Option<String>,
    pub since: Option<SyncToken>,
    pub filter: Arc<Filter>,
    pub full_state: bool,
    /// How long to wait for news.
    pub timeout: Duration,
    pub set_presence: PresenceState,
    /// Whether state is that at the end of the timeline (`use_state_after`).
    pub state_after: bool,
    /// Ends waiting early when its connection has to make room for another.
    pub long_poll: LongPoll,
}

/// The point up to which an answer tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub position: Position,
    pub ephemeral: u64,
}

impl Now {
    fn token(self) -> SyncToken {
        SyncToken { position: self.position, ephemeral: self.ephemeral, to_device: None }
    }
}

/// Why a sync failed.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Answers syncs.
pub struct SyncEngine {
    parts: SyncParts,
    sent_members: SentMembers,
    key_counts: KeyCounts,
}

impl SyncEngine {
    /// A server has one.
    #[must_use]
    pub fn new(parts: SyncParts) -> Self {
        Self { parts, sent_members: SentMembers::default(), key_counts: KeyCounts::default() }
    }

    /// The body of the answer, JSON. Waits up to the request's timeout when there is nothing to tell.
    pub async fn sync(&self, request: SyncRequest) -> Result<String, SyncError> {
        let SyncParts { clock, notifier, presence, .. } = &self.parts;
        let device = request.device.clone().unwrap_or_default();
        let _connected = presence.sync_started(&request.user, &device, request.set_presence);
        if let Some(since) = &request.since {
            self.acknowledge(&request, since.to_device_position()).await?;
        }
        // Registered before anything is read, so that nothing falls between reading and waiting.
        let wait = notifier.wait(&request.user);
        let tells_anyway = request.since.is_none() || request.full_state;
        let mut timeout = pin!(clock.sleep(request.timeout));
        let mut request = request;
        loop {
            let woken = wait.woken();
            let mut now = self.now();
            if tells_anyway || self.may_have_news(&request, now) {
                // Boxed: thousands of requests wait in this function, and only few of them build an answer.
                let answer;
                (answer, now) = Box::pin(Build::answer(self, &request, now)).await?;
                if answer.has_news || tells_anyway {
                    return Ok(answer.body);
                }
            }
            if request.timeout.is_zero() {
                return Ok(Build::empty_answer(self, &request, now.token()).await?);
            }
            // Nothing concerned the user up to here: what follows need not look again.
            request.since = Some(now.token());
            let waiting = request.long_poll.wait();
            tokio::select! {
                () = woken => continue,
                () = self.parts.shutdown.begun() => {}
                () = waiting.must_end() => {}
                () = &mut timeout => {}
            }
            drop(waiting);
            return Ok(Build::empty_answer(self, &request, now.token()).await?);
        }
    }

    fn now(&self) -> Now {
        Now { ephemeral: self.parts.serial.current(), position: self.parts.db.committed() }
    }
}
