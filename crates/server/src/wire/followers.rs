//! The services that follow the log: sync, end-to-end encryption, and delivery to other servers and push gateways.

use std::sync::Arc;

use plexus_base::Background;
use plexus_base::config::{Config, PresenceMode};
use plexus_delivery::{
    AppServiceOut, AppServiceOutParts, EduReceiver, EduReceiverParts, Extensions, FederationOut, FederationOutParts,
    PushOut, PushOutParts, PushSettings,
};
use plexus_e2ee::{CrossSigning, DeviceKeys, KeyBackups, RemoteDevices, RemoteDevicesParts};
use plexus_rooms::Rooms;
use plexus_store::DbError;
use plexus_sync::ephemeral::EphemeralSerial;
use plexus_sync::{
    DeltaParts, EventStream, Filters, Notifications, Notifier, PredefinedRules, Presence, PresenceSettings, Receipts,
    SettingsCache, SettingsFeatures, SlidingSync, SlidingSyncParts, SyncEngine, SyncOptions, SyncParts,
    ThreadSubscriptions, ToDevice, Typing, UnreadCounts,
};

use super::federation::Outgoing;
use super::foundation::Foundation;
use super::rooms::RoomServices;

/// Sync, and its content besides events of rooms.
pub(super) struct SyncServices {
    pub(super) notifier: Arc<Notifier>,
    pub(super) typing: Arc<Typing>,
    pub(super) presence: Arc<Presence>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) notifications: Arc<Notifications>,
    pub(super) to_device: Arc<ToDevice>,
    pub(super) filters: Arc<Filters>,
    pub(super) engine: Arc<SyncEngine>,
    pub(super) event_stream: Arc<EventStream>,
    pub(super) thread_subscriptions: ThreadSubscriptions,
    pub(super) settings: Arc<SettingsCache>,
    pub(super) predefined_rules: PredefinedRules,
    pub(super) sliding: Arc<SlidingSync>,
    unread: Arc<UnreadCounts>,
}

/// Keys of end-to-end encryption.
pub(super) struct E2eeServices {
    pub(super) device_keys: DeviceKeys,
    pub(super) cross_signing: CrossSigning,
    pub(super) key_backups: KeyBackups,
    pub(super) remote_devices: Arc<RemoteDevices>,
}

/// Delivery to other servers, application services and push gateways, and receiving other servers' EDUs.
pub(super) struct DeliveryServices {
    pub(super) edus: Arc<EduReceiver>,
    pub(super) federation_out: Arc<FederationOut>,
    pub(super) app_service_out: Arc<AppServiceOut>,
    /// `None` with `push.enabled: false`.
    pub(super) push_out: Option<Arc<PushOut>>,
}

impl SyncServices {
    pub(super) fn build(foundation: &Foundation, rooms: &RoomServices) -> Self {
        let Foundation { config, clock, database: db, server_name, shutdown, background, .. } = foundation;
        let rooms = &rooms.rooms;
        let notifier = Arc::new(Notifier::new(Arc::clone(rooms), db.committed(), background.clone()));
        db.add_listener(&notifier);
        let serial = Arc::new(EphemeralSerial::new(clock.now_ms()));
        let typing = Arc::new(Typing::new(clock.clone(), Arc::clone(&serial), Arc::clone(&notifier)));
        let presence = Arc::new(Presence::new(
            presence_settings(config),
            clock.clone(),
            db.clone(),
            Arc::clone(&serial),
            Arc::clone(&notifier),
        ));
        let experimental = &config.experimental.experimental_features;
        let features = SettingsFeatures {
            invite_filtering: experimental.msc4155_enabled,
            rules: PredefinedRules {
                thread_subscriptions: experimental.msc4306_enabled,
                encrypted_events: experimental.msc4028_push_encrypted_events,
            },
            no_notifications: !config.push.push.enabled,
        };
        let settings = Arc::new(SettingsCache::new(db.clone(), Arc::clone(&notifier), features));
        let unread = Arc::new(UnreadCounts::new(db.clone(), Arc::clone(&settings), background.clone()));
        let receipts = Arc::new(Receipts::new(db.clone(), clock.clone(), Arc::clone(&unread)));
        let notifications = Notifications::new(db.clone(), clock.clone(), Arc::clone(rooms), Arc::clone(&unread));
        let to_device = ToDevice::new(db.clone(), clock.clone(), server_name.clone());
        let engine = SyncEngine::new(SyncParts {
            deltas: DeltaParts {
                db: db.clone(),
                clock: clock.clone(),
                rooms: Arc::clone(rooms),
                notifier: Arc::clone(&notifier),
                typing: Arc::clone(&typing),
                presence: Arc::clone(&presence),
                receipts: Arc::clone(&receipts),
                unread: Arc::clone(&unread),
                settings: Arc::clone(&settings),
                options: sync_options(config),
            },
            serial: Arc::clone(&serial),
            shutdown: shutdown.clone(),
        });
        let engine = Arc::new(engine);
        let event_stream = Arc::new(EventStream::new(Arc::clone(&engine), shutdown.clone()));
        let sliding = SlidingSync::new(SlidingSyncParts {
            engine: Arc::clone(&engine),
            serial,
            random: foundation.random.clone(),
            shutdown: shutdown.clone(),
        });
        Self {
            notifier,
            typing,
            presence,
            receipts,
            notifications: Arc::new(notifications),
            to_device: Arc::new(to_device),
            filters: Arc::new(Filters::new(db.clone())),
            engine,
            event_stream,
            thread_subscriptions: ThreadSubscriptions::new(db.clone(), experimental.msc4306_enabled),
            settings,
            predefined_rules: features.rules,
            sliding: Arc::new(sliding),
            unread,
        }
    }

    pub(super) fn start_background(&self, background: &Background) {
        let (presence, typing) = (Arc::clone(&self.presence), Arc::clone(&self.typing));
        background.spawn_abortable("presence", async move { presence.run().await });
        background.spawn_abortable("typing", async move { typing.run().await });
        background
            .spawn_abortable("housekeeping of to-device messages", Arc::clone(&self.to_device).run_housekeeping());
        background.spawn_abortable("housekeeping of sliding sync", Arc::clone(&self.sliding).run_housekeeping());
    }
}

impl E2eeServices {
    pub(super) async fn build(
        foundation: &Foundation,
        outgoing: &Outgoing,
        rooms: &RoomServices,
    ) -> Result<Self, DbError> {
        let Foundation { clock, database: db, server_name, .. } = foundation;
        let remote_devices = RemoteDevices::start(RemoteDevicesParts {
            db: db.clone(),
            clock: clock.clone(),
            rooms: Arc::clone(&rooms.rooms),
            client: Arc::clone(&outgoing.client),
        });
        let remote_devices = remote_devices.await?;
        let device_keys = DeviceKeys::new(db.clone(), server_name.clone());
        let (cross_signing, key_backups) = (CrossSigning::new(db.clone()), KeyBackups::new(db.clone()));
        Ok(Self { device_keys, cross_signing, key_backups, remote_devices })
    }

    pub(super) fn start_background(&self, background: &Background) {
        background.spawn_abortable("devices of other servers' users", Arc::clone(&self.remote_devices).run());
    }
}

impl DeliveryServices {
    pub(super) async fn build(
        foundation: &Foundation,
        outgoing: &Outgoing,
        rooms: &RoomServices,
        sync: &SyncServices,
        e2ee: &E2eeServices,
    ) -> Result<Self, DbError> {
        let Foundation { config, clock, database: db, .. } = foundation;
        let rooms = &rooms.rooms;
        let SyncServices { notifier, typing, presence, receipts, .. } = sync;
        let edus = EduReceiver::new(EduReceiverParts {
            db: db.clone(),
            clock: clock.clone(),
            rooms: Arc::clone(rooms),
            typing: Arc::clone(typing),
            presence: Arc::clone(presence),
            receipts: Arc::clone(receipts),
            remote_devices: Arc::clone(&e2ee.remote_devices),
        });
        let federation_out = FederationOut::start(FederationOutParts {
            db: db.clone(),
            clock: clock.clone(),
            rooms: Arc::clone(rooms),
            notifier: Arc::clone(notifier),
            presence: Arc::clone(presence),
            receipts: Arc::clone(receipts),
            device_keys: e2ee.device_keys.clone(),
            transport: Arc::clone(&outgoing.client) as _,
            tell_device_names: config.federation.allow_device_name_lookup_over_federation,
            receipts_per_second: config.ratelimits.federation_rr_transactions_per_room_per_second,
        });
        let experimental = &config.experimental.experimental_features;
        let app_service_out = AppServiceOut::start(AppServiceOutParts {
            db: db.clone(),
            clock: clock.clone(),
            rooms: Arc::clone(rooms),
            notifier: Arc::clone(notifier),
            typing: Arc::clone(typing),
            presence: Arc::clone(presence),
            receipts: Arc::clone(receipts),
            app_services: Arc::clone(&foundation.app_services),
            client: outgoing.app_services.clone(),
            extensions: Extensions {
                to_device: experimental.msc2409_to_device_messages_enabled,
                msc3202: experimental.msc3202_transaction_extensions,
            },
        });
        let federation_out = federation_out.await?;
        let app_service_out = app_service_out.await?;
        let push_out = if config.push.push.enabled {
            Some(PushOut::start(push_out_parts(foundation, outgoing, rooms, sync)).await?)
        } else {
            PushOut::suspend(db).await?;
            None
        };
        Ok(Self { edus: Arc::new(edus), federation_out, app_service_out, push_out })
    }

    pub(super) fn start_background(&self, background: &Background) {
        background.spawn_abortable("delivery to other servers", Arc::clone(&self.federation_out).run());
        background.spawn_abortable("delivery to application services", Arc::clone(&self.app_service_out).run());
        if let Some(push_out) = &self.push_out {
            background.spawn_abortable("delivery to push gateways", Arc::clone(push_out).run());
        }
    }

    /// Starts no more deliveries, and waits a little for those under way.
    pub(super) async fn stop(&self) {
        let pushes = async {
            if let Some(push_out) = &self.push_out {
                push_out.stop().await;
            }
        };
        tokio::join!(self.federation_out.stop(), self.app_service_out.stop(), pushes);
    }

    /// Writes the progress, once nothing is delivered any more.
    pub(super) async fn close(&self) {
        self.federation_out.close().await;
        self.app_service_out.close().await;
        if let Some(push_out) = &self.push_out {
            push_out.close().await;
        }
    }
}

fn push_out_parts(
    foundation: &Foundation,
    outgoing: &Outgoing,
    rooms: &Arc<Rooms>,
    sync: &SyncServices,
) -> PushOutParts {
    let Foundation { config, clock, random, database, .. } = foundation;
    let options = &config.push.push;
    PushOutParts {
        db: database.clone(),
        clock: clock.clone(),
        random: random.clone(),
        rooms: Arc::clone(rooms),
        notifier: Arc::clone(&sync.notifier),
        unread: Arc::clone(&sync.unread),
        settings: Arc::clone(&sync.settings),
        http: Arc::clone(&outgoing.http),
        options: PushSettings {
            include_content: options.include_content,
            badge_counts_rooms: options.group_unread_count_by_room,
            jitter: options.jitter_delay,
            badges_by_app: config.experimental.experimental_features.msc4076_enabled,
        },
    }
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
        include_profile_updates: config.server.include_profile_updates_in_sync,
    }
}
