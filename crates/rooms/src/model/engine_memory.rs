//! The parts of memory that commits update.

use std::sync::Arc;

use plexus_protocol::id::ServerName;
use plexus_protocol::membership::Membership;
use plexus_store::repo::state_snapshots;
use tokio::sync::Notify;

use crate::model::accepted_invites::AcceptedInvites;
use crate::model::erased_users::ErasedUsers;
use crate::model::event_cache::EventCache;
use crate::model::index_progress::IndexProgress;
use crate::model::interner::Interner;
use crate::model::loaded_rooms::LoadedRooms;
use crate::model::memberships::Memberships;
use crate::model::sticky_events::StickyEvents;
use crate::model::stored_tasks::StoredTasks;

/// What commits update. Owned by this process, which follows the commits ([`crate::write::follower`]).
pub(crate) struct EngineMemory {
    pub(crate) server_name: ServerName,
    pub(crate) rooms: LoadedRooms,
    pub(crate) memberships: Memberships,
    pub(crate) interner: Interner,
    pub(crate) events: Arc<EventCache>,
    pub(crate) erased: ErasedUsers,
    pub(crate) sticky: StickyEvents,
    pub(crate) directory: IndexProgress,
    pub(crate) snapshots: Arc<state_snapshots::Recent>,
    /// Whether users forget a room when they leave it or are kicked or banned.
    pub(crate) forget_on_leave: bool,
    /// Whether messages can carry their own expiry.
    pub(crate) expiring_messages: bool,
    /// The invites that are accepted for users, if any are.
    pub(crate) accepted_invites: Option<AcceptedInvites>,
    /// Notified when scheduled tasks are stored with events.
    pub(crate) tasks_stored: StoredTasks,
    /// Notified when guest access has ended in a room.
    pub(crate) guest_access_ended: Notify,
    /// Notified when a user of this server has joined a room or knocked on one.
    pub(crate) local_user_entered: Notify,
}

impl EngineMemory {
    /// Whether a user with this membership forgets the room at once.
    pub(crate) fn forgets(&self, membership: Membership) -> bool {
        self.forget_on_leave && matches!(membership, Membership::Leave | Membership::Ban)
    }
}
