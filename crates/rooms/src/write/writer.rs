//! Writes to rooms.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use plexus_base::config::PrejoinStateEntry;
use plexus_base::{Background, Clock, Random};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_store::Database;

use crate::model::limits::MembershipLimits;
use crate::model::nids::Nids;
use crate::model::rooms::{Rooms, RoomsDeps};
use crate::write::peers::{PolicyServers, RemoteAliases};
use crate::write::persist::Persister;
use crate::write::transactions::Transactions;

/// The settings and dependencies of the room engine.
pub struct RoomsOptions {
    /// The database.
    pub db: Database,
    /// The clock.
    pub clock: Clock,
    /// Randomness, for the ids of rooms before version 12.
    pub random: Random,
    /// Runs what goes on when nobody waits for it any more.
    pub background: Background,
    /// This server.
    pub server_name: ServerName,
    /// The key that this server signs events with.
    pub signing_key: Arc<SigningKey>,
    /// Policy servers; `None` where no other server is asked.
    pub policy_servers: Option<Arc<dyn PolicyServers>>,
    /// The directories of other servers; `None` where no other server is asked.
    pub remote_aliases: Option<Arc<dyn RemoteAliases>>,
    /// The approximate size in bytes of the rooms in memory, which may be more while they are in use. Single state
    /// events may take a quarter of it besides.
    pub cache_bytes: usize,
    /// The state that describes a room to users who are not in it, besides `m.room.create`.
    pub stripped_state_types: Vec<PrejoinStateEntry>,
    /// The limits on changes of membership.
    pub limits: MembershipLimits,
    /// Whether users forget a room when they leave it or are kicked or banned.
    pub forget_on_leave: bool,
}

/// Builds, signs and commits events. A server has one.
pub struct RoomWriter {
    pub rooms: Arc<Rooms>,
    pub db: Database,
    pub clock: Clock,
    pub random: Random,
    /// Runs what goes on when nobody waits for it any more.
    pub background: Background,
    pub server_name: ServerName,
    pub signing_key: Arc<SigningKey>,
    pub(crate) policy_servers: Option<Arc<dyn PolicyServers>>,
    pub(crate) remote_aliases: Option<Arc<dyn RemoteAliases>>,
    pub nids: Nids,
    pub(crate) persister: Persister,
    pub(crate) transactions: Transactions,
    pub limits: MembershipLimits,
    /// When the last room was created, Unix ms.
    pub(crate) last_creation: AtomicU64,
}

impl RoomWriter {
    /// Starts the persister as a task of the current tokio runtime. The task ends with the writer.
    #[must_use]
    pub fn start(options: RoomsOptions) -> Arc<Self> {
        let RoomsOptions { db, clock, random, background, server_name, signing_key, policy_servers, .. } = options;
        let RoomsOptions { remote_aliases, cache_bytes, stripped_state_types, limits, forget_on_leave, .. } = options;
        let rooms = Arc::new(Rooms::new(RoomsDeps {
            db: db.clone(),
            clock: clock.clone(),
            server_name: server_name.clone(),
            cache_bytes,
            stripped_state_types,
            forget_on_leave,
        }));
        Arc::new(Self {
            nids: Nids::new(db.clone()),
            persister: Persister::start(db.clone(), clock.clone(), Arc::clone(&rooms.memory)),
            transactions: Transactions::new(db.clone()),
            last_creation: AtomicU64::new(0),
            rooms,
            db,
            clock,
            random,
            background,
            server_name,
            signing_key,
            policy_servers,
            remote_aliases,
            limits,
        })
    }

    /// Returns the rooms, for readers.
    #[must_use]
    pub fn rooms(&self) -> &Arc<Rooms> {
        &self.rooms
    }

    /// Returns this server's name.
    #[must_use]
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }
}
