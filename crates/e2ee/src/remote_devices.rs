//! Device lists of other servers' users (<https://spec.matrix.org/v1.19/server-server-api/#device-management>).
//!
//! Tracked are users who share an encrypted room with a local one: their servers send every change, so that the stored
//! list is valid until then. The devices of other users are queried each time.
//!
//! - `received`: which part of what other servers send is stored
//! - `update`: the EDUs `m.device_list_update` and `m.signing_key_update`
//! - `resync`: queries lists that are out of date, until their servers respond
//! - `query`: `POST /keys/query` of clients
//! - `cleanup`: deletes the lists of users who are not tracked any more; `departed` collects those who left rooms

mod announcements;
mod cleanup;
mod departed;
mod query;
mod received;
mod resync;
mod update;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_net::FederationClient;
use plexus_protocol::id::{ServerName, UserId};
use plexus_rooms::{RoomView, Rooms};
use plexus_store::repo::device_lists;
use plexus_store::{Database, DbError, Tx, repo};
use tokio::sync::Notify;

use announcements::Announcements;
use cleanup::Cleanup;
use departed::DepartedMembers;
pub use query::{Failures, Queried};
use resync::Resync;
pub use update::{DeviceUpdate, SigningKeyUpdate};

/// The most users that are tracked. The devices of others are queried each time.
const MAX_USERS: u64 = 500_000;
/// The most servers that are kept as unreachable. Users of others are queried when their time has come.
const MAX_UNREACHABLE: usize = 10_000;

/// The services that tracking the devices of other servers' users uses.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct RemoteDevicesParts {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub client: Arc<FederationClient>,
}

/// Tracks the devices of other servers' users. Owned by one process; another continues from the database.
pub struct RemoteDevices {
    parts: RemoteDevicesParts,
    departed: Arc<DepartedMembers>,
    announcements: Announcements,
    /// The number of tracked users.
    tracked: AtomicU64,
    /// Notified when a list is out of date.
    outdated: Notify,
    /// Servers that could not be queried, and have sent nothing since.
    unreachable: Mutex<HashSet<ServerName>>,
}

impl RemoteDevices {
    /// Continues with what is stored, once [`Self::run`] runs. To be called before the first write.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(parts: RemoteDevicesParts) -> Result<Arc<Self>, DbError> {
        let tracked = parts.db.read(repo::remote_devices::count).await?;
        let departed = Arc::new(DepartedMembers::default());
        parts.db.add_listener(&departed);
        Ok(Arc::new(Self {
            parts,
            departed,
            announcements: Announcements::default(),
            tracked: AtomicU64::new(tracked),
            outdated: Notify::new(),
            unreachable: Mutex::default(),
        }))
    }

    /// Queries lists that are out of date, and deletes those that are not needed any more, without end.
    pub async fn run(self: Arc<Self>) {
        let (resync, cleanup) = (Resync::new(Arc::clone(&self)), Cleanup::new(&self));
        let announcements = self.announcements.run(&self.parts.db, &self.parts.clock);
        tokio::join!(resync.run(), cleanup.run(), announcements);
    }

    /// Handles that a server sends something: lists that could not be queried may be queried now.
    pub async fn heard_from(&self, server: &ServerName) {
        if !self.unreachable.lock().remove(server) {
            return;
        }
        let (name, now) = (server.to_string(), self.parts.clock.now_ms());
        match self.parts.db.write(move |tx| repo::remote_devices::request_at_once(tx, &name, now)).await {
            Ok(0) => {}
            Ok(_) => self.outdated.notify_one(),
            Err(error) => {
                let error: DbError = error;
                tracing::warn!("devices of users of {server} are queried later: {error}");
            }
        }
    }

    /// Whether a user is in an encrypted room that local users are in.
    async fn is_in_encrypted_room(&self, user: &UserId) -> Result<bool, DbError> {
        self.is_in_room(user, RoomView::is_encrypted).await
    }

    /// Whether a user is in any room that local users are in.
    async fn shares_room(&self, user: &UserId) -> Result<bool, DbError> {
        self.is_in_room(user, |_| true).await
    }

    async fn is_in_room(&self, user: &UserId, counts: impl Fn(&RoomView) -> bool) -> Result<bool, DbError> {
        let rooms = &self.parts.rooms;
        for room in rooms.memberships().of(user).await?.joined() {
            let Some(room) = rooms.get_readable_nid(room).await? else { continue };
            let view = room.view();
            if !view.local_joined.is_empty() && counts(&view) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether one more user can be tracked.
    fn has_capacity(&self) -> bool {
        self.tracked.load(Ordering::Relaxed) < MAX_USERS
    }
}

/// Announces that a user's devices or keys changed: one row a user, whichever of the devices it was.
fn announce(tx: &mut Tx<'_>, user: &UserId) -> Result<(), DbError> {
    device_lists::record(tx, user, device_lists::CROSS_SIGNING)
}
