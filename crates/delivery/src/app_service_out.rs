//! Delivery to application services (application service API, "Pushing events").
//!
//! - `changes`: collects what changed
//! - `interest`: which services get the events of a room
//! - `services`: application services as destinations of an [`Outbox`]; they get the log's `content`, and `extras`
//! - `log`: what the log has for services
//! - `transaction`: the body of one transaction, with `extensions`
//! - `ephemeral`: typing, receipts and presence

mod changes;
mod content;
mod ephemeral;
mod extensions;
mod extras;
mod interest;
mod log;
mod services;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use plexus_base::{AppServices, Clock};
use plexus_net::AppServiceClient;
use plexus_rooms::Rooms;
use plexus_store::repo::app_service_out;
use plexus_store::{Database, DbError, Tx};
use plexus_sync::{Notifier, Presence, Receipts, Typing};

use crate::outbox::Outbox;
use changes::ServiceChanges;
use ephemeral::EphemeralSender;
use interest::Interest;
use log::LogReader;
use services::{CameBackSender, SLOTS, Services};

pub use extensions::Extensions;

/// How long to wait when the database fails.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The services that the delivery to application services uses.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct AppServiceOutParts {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub notifier: Arc<Notifier>,
    pub typing: Arc<Typing>,
    pub presence: Arc<Presence>,
    pub receipts: Arc<Receipts>,
    pub app_services: Arc<AppServices>,
    pub client: AppServiceClient,
    pub extensions: Extensions,
}

/// Delivers to application services.
pub struct AppServiceOut {
    db: Database,
    clock: Clock,
    changes: Arc<ServiceChanges>,
    outbox: Arc<Outbox<Services>>,
    ephemeral: EphemeralSender,
    came_back: CameBackSender,
}

impl AppServiceOut {
    /// Continues where the last run of the program stopped, once [`Self::run`] runs. To be called before the first
    /// write, and after the rooms follow the log.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(parts: AppServiceOutParts) -> Result<Arc<Self>, DbError> {
        let AppServiceOutParts { db, clock, rooms, notifier, typing, presence, receipts, app_services, .. } = parts;
        let server_name = rooms.server_name().clone();
        let changes = Arc::new(ServiceChanges::new(server_name, Arc::clone(&app_services), db.committed()));
        let interest = Arc::new(Interest::new(db.clone(), Arc::clone(&rooms), Arc::clone(&app_services)));
        let log = LogReader {
            db: db.clone(),
            rooms: Arc::clone(&rooms),
            app_services: Arc::clone(&app_services),
            interest: Arc::clone(&interest),
            changes: Arc::clone(&changes),
            extensions: parts.extensions,
        };
        let (services, came_back) =
            Services::new(db.clone(), clock.clone(), Arc::clone(&app_services), parts.client, log);
        let outbox = Outbox::start(services, clock.clone(), SLOTS).await?;
        db.add_listener(&interest);
        db.add_listener(&changes);
        notifier.add_ephemeral_listener(Arc::clone(&changes) as _);
        let ephemeral = EphemeralSender {
            db: db.clone(),
            clock: clock.clone(),
            rooms,
            app_services,
            typing,
            receipts,
            presence,
            interest,
            changes: Arc::clone(&changes),
            outbox: Arc::clone(&outbox),
            sends_keys: parts.extensions.msc3202,
        };
        Ok(Arc::new(Self { db, clock, changes, outbox, ephemeral, came_back }))
    }

    /// Delivers, without end.
    pub async fn run(self: Arc<Self>) {
        // Events do not wait for ephemeral ones.
        tokio::join!(self.distribute_log(), self.ephemeral.run(), Arc::clone(&self.outbox).run());
    }

    /// Has the outbox read the log whenever it grows; first what the last run of the program did not get to.
    async fn distribute_log(&self) {
        loop {
            while let Err(error) = self.outbox.distribute().await {
                tracing::warn!("events for application services wait: {error}");
                self.clock.sleep(DATABASE_RETRY_AFTER).await;
            }
            self.changes.log_has_more().await;
        }
    }

    /// To be called before services are replaced by these: new ones get what comes after it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prepare_for(&self, services: Vec<String>) -> Result<(), DbError> {
        self.outbox.distribute().await?;
        self.db.write(move |tx: &mut Tx<'_>| app_service_out::begin(tx, &services)).await.map(drop)
    }

    /// Has a service that failed tried again at once: it is up.
    pub fn came_back(&self, service_id: &str) {
        // If there is no room for it, the service is tried again at its time.
        let _ = self.came_back.try_send(service_id.into());
    }

    /// Starts no more transactions, and waits a little for those under way.
    pub async fn stop(&self) {
        self.outbox.stop().await;
    }

    /// Writes how far every service has come, once [`Self::run`] has ended.
    pub async fn close(&self) {
        self.outbox.close().await;
    }
}
