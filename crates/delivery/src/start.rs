//! Building the parts in their order.

use std::sync::Arc;

use plexus_base::Clock;
use plexus_rooms::Rooms;
use plexus_store::{CommitListener, Database};

use crate::ephemeral::EphemeralSerial;
use crate::sync::SyncParts;
use crate::{
    Filters, Notifications, Notifier, Presence, PresenceSettings, Receipts, SettingsCache, SyncEngine, SyncOptions,
    ToDevice, Typing, UnreadCounts,
};

/// What delivery stands on.
pub struct DeliveryOptions {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub presence: PresenceSettings,
    pub sync: SyncOptions,
}

/// The parts, for endpoints to take what they need.
#[derive(Clone)]
pub struct Delivery {
    pub notifier: Arc<Notifier>,
    pub sync: Arc<SyncEngine>,
    pub filters: Arc<Filters>,
    pub receipts: Arc<Receipts>,
    pub typing: Arc<Typing>,
    pub presence: Arc<Presence>,
    pub to_device: Arc<ToDevice>,
    pub unread: Arc<UnreadCounts>,
    pub notifications: Arc<Notifications>,
}

impl Delivery {
    /// Builds the parts and follows the database's commits from now on. Call it before anything is served; and run
    /// [`Delivery::run`] as long as the server lives.
    #[must_use]
    pub fn start(options: DeliveryOptions) -> Self {
        let DeliveryOptions { db, clock, rooms, presence, sync } = options;
        let serial = Arc::new(EphemeralSerial::new(clock.now_ms()));
        let notifier = Arc::new(Notifier::new(Arc::clone(&rooms), db.committed()));
        db.set_listener(Arc::clone(&notifier) as Arc<dyn CommitListener>);
        let settings = Arc::new(SettingsCache::new(db.clone(), Arc::clone(&notifier)));
        let unread = Arc::new(UnreadCounts::new(db.clone(), Arc::clone(&settings)));
        let receipts = Arc::new(Receipts::new(db.clone(), clock.clone(), Arc::clone(&unread)));
        let typing = Arc::new(Typing::new(clock.clone(), Arc::clone(&serial), Arc::clone(&notifier)));
        let presence =
            Presence::new(presence, clock.clone(), db.clone(), Arc::clone(&serial), Arc::clone(&notifier));
        let presence = Arc::new(presence);
        let engine = SyncEngine::new(SyncParts {
            db: db.clone(),
            clock: clock.clone(),
            rooms: Arc::clone(&rooms),
            notifier: Arc::clone(&notifier),
            serial,
            typing: Arc::clone(&typing),
            presence: Arc::clone(&presence),
            receipts: Arc::clone(&receipts),
            unread: Arc::clone(&unread),
            settings,
            options: sync,
        });
        Self {
            notifier,
            sync: Arc::new(engine),
            filters: Arc::new(Filters::new(db.clone())),
            receipts,
            typing,
            presence,
            to_device: Arc::new(ToDevice::new(db.clone(), clock.clone(), rooms.server_name().clone())),
            notifications: Arc::new(Notifications::new(db, clock, rooms, Arc::clone(&unread))),
            unread,
        }
    }

    /// Lets typing and presence time out. Never ends.
    pub async fn run(self) {
        tokio::join!(self.typing.run(), self.presence.run());
    }
}
