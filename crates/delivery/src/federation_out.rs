//! Delivery of events and EDUs to other servers (server-server API,
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>).
//!
//! - `changes`: collects what changed, at the same cost for any number of servers
//! - `other_servers`: other servers as destinations of an [`Outbox`]; they get the log's `content`, and `extras`
//! - `log`, `catch_up`: what the log has for servers, and for one server that has missed much of it
//! - `transaction`, `send`: one transaction, and sending it
//! - `refusals`: finds the piece of a transaction that a server refuses
//! - `ephemeral`, `edus`: EDUs that may be lost: typing, receipts, presence
//! - `device_updates`, `introductions`: EDUs about users' devices
//! - `transport`: how transactions reach other servers

mod catch_up;
mod changes;
mod content;
mod device_updates;
mod edus;
mod ephemeral;
mod extras;
mod introductions;
mod log;
mod other_servers;
mod receipt_throttle;
mod refusals;
mod send;
mod shared_rooms;
mod transaction;
mod transport;

use std::sync::Arc;

use plexus_base::Clock;
use plexus_e2ee::DeviceKeys;
use plexus_rooms::Rooms;
use plexus_store::{Database, DbError};
use plexus_sync::Notifier;
use plexus_sync::presence::Presence;
use plexus_sync::receipts::Receipts;

use crate::outbox::Outbox;
use changes::OutgoingChanges;
use device_updates::DeviceUpdates;
use edus::EduSender;
use introductions::DeviceIntroductions;
use log::LogReader;
use other_servers::{OtherServers, slot_limits};
use send::TransactionSender;
use shared_rooms::SharedRooms;

pub use transport::{Pending, Transport};

/// The services that the delivery to other servers uses.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct FederationOutParts {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub notifier: Arc<Notifier>,
    pub presence: Arc<Presence>,
    pub receipts: Arc<Receipts>,
    pub device_keys: DeviceKeys,
    pub transport: Arc<dyn Transport>,
    /// Whether other servers get the names of devices.
    pub tell_device_names: bool,
    /// `federation_rr_transactions_per_room_per_second`: the receipts of a room sent in a second, counted by servers.
    pub receipts_per_second: u32,
}

/// Delivers to other servers.
pub struct FederationOut {
    outbox: Arc<Outbox<OtherServers>>,
    edus: EduSender,
    introductions: DeviceIntroductions,
}

impl FederationOut {
    /// Continues where the last run of the program stopped, once [`Self::run`] runs. To be called before the first
    /// write.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(parts: FederationOutParts) -> Result<Arc<Self>, DbError> {
        let FederationOutParts { db, clock, rooms, notifier, presence, receipts, transport, .. } = parts;
        let changes = Arc::new(OutgoingChanges::new(rooms.server_name().clone()));
        let shared_rooms = SharedRooms::new(Arc::clone(&rooms));
        let device_updates = Arc::new(DeviceUpdates::new(parts.device_keys, parts.tell_device_names));
        let log = LogReader::new(db.clone(), shared_rooms.clone(), Arc::clone(&device_updates));
        let server_name = rooms.server_name().clone();
        let transactions = TransactionSender::new(db.clone(), clock.clone(), server_name, Arc::clone(&transport));
        let limits = slot_limits(transport.capacity());
        let servers = OtherServers::new(db.clone(), log, transactions, transport);
        let outbox = Outbox::start(servers, clock.clone(), limits).await?;
        db.add_listener(&changes);
        notifier.add_ephemeral_listener(Arc::clone(&changes) as _);
        Ok(Arc::new(Self {
            edus: EduSender {
                db: db.clone(),
                clock: clock.clone(),
                shared_rooms: shared_rooms.clone(),
                presence,
                receipts,
                changes: Arc::clone(&changes),
                outbox: Arc::clone(&outbox),
                receipts_per_second: parts.receipts_per_second,
            },
            introductions: DeviceIntroductions {
                db,
                clock,
                shared_rooms,
                device_updates,
                changes,
                outbox: Arc::clone(&outbox),
            },
            outbox,
        }))
    }

    /// Delivers, without end.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.edus.run(), self.introductions.run(), Arc::clone(&self.outbox).run());
    }

    /// Starts no more transactions, and waits a little for those under way.
    pub async fn stop(&self) {
        self.outbox.stop().await;
    }

    /// Writes how far every server has come, once [`Self::run`] has ended.
    pub async fn close(&self) {
        self.outbox.close().await;
    }
}
