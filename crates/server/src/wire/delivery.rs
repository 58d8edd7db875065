//! The followers of the clock, and the tasks they need.

use std::sync::Arc;

use plexus_base::config::{Config, PresenceMode};
use plexus_base::{Clock, Shutdown};
use plexus_delivery::{EduReceiver, EduReceiverParts, FederationOut, FederationOutParts};
use plexus_e2ee::device_keys::DeviceKeys;
use plexus_e2ee::{KeyBackups, RemoteDevices, RemoteDevicesParts};
use plexus_net::FederationClient;
use plexus_protocol::id::ServerName;
use plexus_rooms::Rooms;
use plexus_store::{Database, DbError};
use plexus_sync::ephemeral::EphemeralSerial;
use plexus_sync::{
    Filters, Notifications, Notifier, Presence, PresenceSettings, Receipts, SettingsCache, SyncEngine, SyncOptions,
    SyncParts, ToDevice, Typing, UnreadCounts,
};
use tokio::task::JoinSet;

/// Everything that follows the clock.
pub struct Delivery {
    pub sync: Arc<SyncEngine>,
    pub filters: Arc<Filters>,
    pub receipts: Arc<Receipts>,
    pub typing: Arc<Typing>,
    pub presence: Arc<Presence>,
    pub to_device: Arc<ToDevice>,
    pub remote_devices: Arc<RemoteDevices>,
    pub device_keys: DeviceKeys,
    pub key_backups: KeyBackups,
    pub notifications: Arc<Notifications>,
    pub edus: Arc<EduReceiver>,
    pub federation_out: Arc<FederationOut>,
}

/// What the followers stand on.
pub struct Ground<'a> {
    pub config: &'a Config,
    pub clock: &'a Clock,
    pub db: &'a Database,
    pub rooms: &'a Arc<Rooms>,
    pub server_name: ServerName,
    /// How other servers are reached.
    pub federation: Arc<FederationClient>,
    pub shutdown: &'a Shutdown,
    /// Where their tasks run.
    pub background: &'a mut JoinSet<()>,
}

/// Builds the followers and makes them hear of commits. To be called before the first write.
///
/// # Errors
/// When the database fails.
pub async fn build(ground: Ground<'_>) -> Result<Delivery, DbError> {
    let Ground { config, clock, db, rooms, server_name, federation, shutdown, background } = ground;
    let notifier = Arc::new(Notifier::new(Arc::clone(rooms), db.committed()));
    db.add_listener(Arc::clone(&notifier) as _);
    let serial = Arc::new(EphemeralSerial::new(clock.now_ms()));
    let typing = Arc::new(Typing::new(clock.clone(), Arc::clone(&serial), Arc::clone(&notifier)));
    let presence = Arc::new(Presence::new(
        presence_settings(config),
        clock.clone(),
        db.clone(),
        Arc::clone(&serial),
        Arc::clone(&notifier),
    ));
    let settings = Arc::new(SettingsCache::new(db.clone(), Arc::clone(&notifier)));
    let unread = Arc::new(UnreadCounts::new(db.clone(), Arc::clone(&settings)));
    let receipts = Arc::new(Receipts::new(db.clone(), clock.clone(), Arc::clone(&unread)));
    let (timers, expiry) = (Arc::clone(&presence), Arc::clone(&typing));
    background.spawn(async move { timers.run().await });
    background.spawn(async move { expiry.run().await });
    let notifications = Notifications::new(db.clone(), clock.clone(), Arc::clone(rooms), Arc::clone(&unread));
    let remote_devices = RemoteDevices::start(RemoteDevicesParts {
        db: db.clone(),
        clock: clock.clone(),
        rooms: Arc::clone(rooms),
        client: Arc::clone(&federation),
    });
    let remote_devices = remote_devices.await?;
    background.spawn(Arc::clone(&remote_devices).run());
    let edus = EduReceiver::new(EduReceiverParts {
        db: db.clone(),
        clock: clock.clone(),
        rooms: Arc::clone(rooms),
        typing: Arc::clone(&typing),
        presence: Arc::clone(&presence),
        receipts: Arc::clone(&receipts),
        remote_devices: Arc::clone(&remote_devices),
    });
    let device_keys = DeviceKeys::new(db.clone(), server_name.clone());
    let federation_out = FederationOut::start(FederationOutParts {
        db: db.clone(),
        clock: clock.clone(),
        rooms: Arc::clone(rooms),
        notifier: Arc::clone(&notifier),
        presence: Arc::clone(&presence),
        receipts: Arc::clone(&receipts),
        device_keys: device_keys.clone(),
        transport: federation,
        tell_device_names: config.federation.allow_device_name_lookup_over_federation,
        receipts_per_second: config.ratelimits.federation_rr_transactions_per_room_per_second,
    });
    let federation_out = federation_out.await?;
    background.spawn(Arc::clone(&federation_out).run());
    let sync = SyncEngine::new(SyncParts {
        db: db.clone(),
        clock: clock.clone(),
        rooms: Arc::clone(rooms),
        notifier: Arc::clone(&notifier),
        serial,
        typing: Arc::clone(&typing),
        presence: Arc::clone(&presence),
        receipts: Arc::clone(&receipts),
        unread,
        settings,
        options: sync_options(config),
        shutdown: shutdown.clone(),
    });
    let to_device = Arc::new(ToDevice::new(db.clone(), clock.clone(), server_name));
    background.spawn(Arc::clone(&to_device).run_housekeeping());
    Ok(Delivery {
        sync: Arc::new(sync),
        filters: Arc::new(Filters::new(db.clone())),
        receipts,
        typing,
        presence,
        to_device,
        remote_devices,
        device_keys,
        key_backups: KeyBackups::new(db.clone()),
        notifications: Arc::new(notifications),
        edus: Arc::new(edus),
        federation_out,
    })
}

fn presence_settings(config: &Config) -> PresenceSettings {
    let options = &config.server.presence;
    PresenceSettings {
        enabled: options.enabled != PresenceMode::Disabled,
        untracked: options.enabled == PresenceMode::Untracked,
        include_offline: options.include_offline_users_on_sync,
        exclude_rooms: config.rooms.exclude_rooms_from_presence.iter().filter_map(|id| id.parse().ok()).collect(),
        active_for: options.last_active_granularity,
        offline_after: options.sync_online_timeout,
        idle_after: options.idle_timeout,
    }
}

fn sync_options(config: &Config) -> SyncOptions {
    SyncOptions {
        exclude_rooms: config.rooms.exclude_rooms_from_sync.iter().cloned().collect(),
        timeline_limit: u64::try_from(config.server.filter_timeline_limit).ok(),
    }
}
