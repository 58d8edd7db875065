//! The request for a delta, and the services from which it is read.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_base::Clock;
use plexus_protocol::id::UserId;
use plexus_rooms::{ClientFormat, Rooms};
use plexus_store::{Database, Position};

use super::profile_fields::ProfileFields;
use crate::filter::Filter;
use crate::notifier::Notifier;
use crate::presence::Presence;
use crate::receipts::Receipts;
use crate::settings::SettingsCache;
use crate::token::SyncToken;
use crate::typing::Typing;
use crate::unread::UnreadCounts;

/// The services from which deltas are read.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct DeltaParts {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub notifier: Arc<Notifier>,
    pub typing: Arc<Typing>,
    pub presence: Arc<Presence>,
    pub receipts: Arc<Receipts>,
    pub unread: Arc<UnreadCounts>,
    pub settings: Arc<SettingsCache>,
    pub options: SyncOptions,
}

/// The options of homeserver.yaml that concern syncs.
#[derive(Debug, Clone, Default)]
pub struct SyncOptions {
    /// `exclude_rooms_from_sync`
    pub exclude_rooms: HashSet<String>,
    /// `filter_timeline_limit`: the most timeline events of a room in one response; `None`: no bound but the filter's.
    pub timeline_limit: Option<u64>,
    /// `include_profile_updates_in_sync`
    pub include_profile_updates: bool,
}

/// A point up to which everything can be read.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Of durable changes.
    pub position: Position,
    /// Of typing and presence.
    pub ephemeral: u64,
}

impl Now {
    /// Returns the token of a response that covers everything up to here.
    pub(crate) fn token(self) -> SyncToken {
        SyncToken { position: self.position, ephemeral: self.ephemeral, to_device: None, sticky: None }
    }
}

/// A request for a delta.
#[derive(Debug, Clone)]
pub struct DeltaRequest {
    /// The user who syncs.
    pub user: UserId,
    /// `None` for sessions without a device, which get no messages to it.
    pub device: Option<String>,
    /// Where the changes begin; `None` for everything.
    pub since: Option<SyncToken>,
    /// The changes that the client wants.
    pub filter: Arc<Filter>,
    /// Whether all state is wanted, changed or not.
    pub full_state: bool,
    /// Whether state is that at the end of the timeline.
    pub state_after: bool,
    /// The fields of profiles that the client follows.
    pub profiles: ProfileFields,
    /// Whether sticky events are wanted beside the timelines.
    pub sticky: bool,
}

impl DeltaRequest {
    /// Returns the point of view of the device that asks.
    pub(crate) fn format(&self, now_ms: u64) -> ClientFormat<'_> {
        ClientFormat { user: &self.user, device_id: self.device.as_deref(), now_ms, room_id: false }
    }
}
