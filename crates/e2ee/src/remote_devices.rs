//! Devices and keys of users of other servers (server-server API, "Device Management").
//!
//! Followed are users who share an encrypted room with a local one: their servers tell of every change, so that what is
//! stored of them is good until then. Of anybody else it is asked each time.
//!
//! - `told`: what other servers say, as far as it is believed
//! - `update`: the EDUs `m.device_list_update` and `m.signing_key_update`
//! - `resync`: asks for lists that are not good any more, until it gets them
//! - `query`: `POST /keys/query` of clients
//! - `follow`: who is followed, and forgetting who is not any more

mod announcements;
mod departed;
mod follow;
mod query;
mod resync;
mod told;
mod update;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_net::FederationClient;
use plexus_protocol::id::{ServerName, UserId};
use plexus_rooms::Rooms;
use plexus_store::repo::device_lists;
use plexus_store::{Database, DbError, Tx, repo};
use tokio::sync::Notify;

use announcements::Announcements;
use departed::DepartedMembers;
pub use query::{Failures, Queried};
pub use update::{DeviceUpdate, SigningKeyUpdate};

/// The most users that are followed. What is more is asked for each time.
const MOST_USERS: u64 = 500_000;
/// The most servers that are remembered as away. Users of others are asked for when their time has come.
const MOST_AWAY: usize = 10_000;

/// What following the devices of other servers' users works with.
pub struct RemoteDevicesParts {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub client: Arc<FederationClient>,
}

/// Follows the devices of users of other servers.
pub struct RemoteDevices {
    parts: RemoteDevicesParts,
    departed: Arc<DepartedMembers>,
    announcements: Announcements,
    /// How many users are followed.
    followed: AtomicU64,
    /// There is a list to ask for.
    outdated: Notify,
    /// Servers that could not be asked and have not been heard of since.
    away: Mutex<HashSet<ServerName>>,
}

impl RemoteDevices {
    /// Goes on with what is stored, once [`Self::run`] runs. To be called before the first write.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(parts: RemoteDevicesParts) -> Result<Arc<Self>, DbError> {
        let followed = parts.db.read(repo::remote_devices::count).await?;
        let departed = Arc::new(DepartedMembers::default());
        parts.db.add_listener(Arc::clone(&departed) as _);
        Ok(Arc::new(Self {
            parts,
            departed,
            announcements: Announcements::default(),
            followed: AtomicU64::new(followed),
            outdated: Notify::new(),
            away: Mutex::default(),
        }))
    }

    /// Asks for what is out of date and forgets who is of no interest any more, without end.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(Arc::clone(&self).resync(), self.forget_strangers(), self.announce_later());
    }

    /// A server talks to us: what could not be asked of it may be asked now.
    pub async fn heard_from(&self, server: &ServerName) {
        if !self.away.lock().remove(server) {
            return;
        }
        let (name, now) = (server.to_string(), self.parts.clock.now_ms());
        match self.parts.db.write(move |tx| repo::remote_devices::hurry(tx, &name, now)).await {
            Ok(0) => {}
            Ok(_) => self.outdated.notify_one(),
            Err(error) => {
                let error: DbError = error;
                tracing::warn!("devices of users of {server} are asked for later: {error}");
            }
        }
    }

    /// Whether one more user can be followed.
    fn has_room(&self) -> bool {
        self.followed.load(Ordering::Relaxed) < MOST_USERS
    }
}

/// Tells clients that a user's devices or keys changed. One row a user of another server, whichever of the devices it
/// was.
fn announce(tx: &mut Tx<'_>, user: &UserId) -> Result<(), DbError> {
    device_lists::record(tx, user, device_lists::CROSS_SIGNING)
}
