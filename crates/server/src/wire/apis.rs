//! The services that each API takes of the engine.

use std::sync::Arc;

use plexus_api_federation::{BroughtInvites, OwnKeys};
use plexus_http::SignedRequests;
use plexus_service::DehydratedDevices;
use plexus_service::third_party_networks::ThirdPartyNetworks;

use super::engine::Engine;
use super::federation::KnownServers;
use super::foundation::Foundation;
use super::rooms::RoomServices;

impl From<&Engine> for plexus_api_client::Services {
    fn from(engine: &Engine) -> Self {
        let Engine { foundation, outgoing, rooms, accounts, sync, e2ee, delivery, media, shared, tasks, .. } = engine;
        Self {
            config: Arc::clone(&foundation.config),
            clock: foundation.clock.clone(),
            random: foundation.random.clone(),
            database: foundation.database.clone(),
            app_services: Arc::clone(&foundation.app_services),
            app_service_client: outgoing.app_services.clone(),
            app_service_out: Arc::clone(&delivery.app_service_out),
            third_party_networks: Arc::new(ThirdPartyNetworks::new(
                Arc::clone(&foundation.app_services),
                outgoing.app_services.clone(),
                foundation.clock.clone(),
            )),
            shutdown: foundation.shutdown.clone(),
            other_servers: Arc::clone(&outgoing.client),
            rooms: Arc::clone(&rooms.rooms),
            receiver: Arc::clone(&rooms.receiver),
            event_sender: Arc::clone(&rooms.sender),
            room_creator: Arc::clone(&rooms.creator),
            membership_changer: Arc::clone(&rooms.members),
            profiles: Arc::clone(&rooms.profiles),
            profile_rules: Arc::clone(&shared.profile_rules),
            user_directory: Arc::clone(&rooms.user_directory),
            tokens: Arc::clone(&accounts.tokens),
            account_settings: Arc::clone(&accounts.settings),
            sessions: accounts.sessions.clone(),
            login_sessions: shared.login_sessions.clone(),
            room_directory: shared.room_directory.clone(),
            registrar: accounts.registrar.clone(),
            logins: accounts.logins.clone(),
            uia: accounts.uia.clone(),
            administration: accounts.administration.clone(),
            devices: accounts.devices.clone(),
            dehydrated_devices: DehydratedDevices::new(foundation.database.clone(), accounts.devices.clone()),
            device_keys: e2ee.device_keys.clone(),
            cross_signing: e2ee.cross_signing.clone(),
            key_backups: e2ee.key_backups.clone(),
            sync: Arc::clone(&sync.engine),
            event_stream: Arc::clone(&sync.event_stream),
            thread_subscriptions: sync.thread_subscriptions.clone(),
            settings: Arc::clone(&sync.settings),
            predefined_rules: sync.predefined_rules,
            sliding_sync: Arc::clone(&sync.sliding),
            filters: Arc::clone(&sync.filters),
            receipts: Arc::clone(&sync.receipts),
            typing: Arc::clone(&sync.typing),
            presence: Arc::clone(&sync.presence),
            to_device: Arc::clone(&sync.to_device),
            notifications: Arc::clone(&sync.notifications),
            remote_devices: Arc::clone(&e2ee.remote_devices),
            media: Arc::clone(&media.store),
            downloads: Arc::clone(&media.downloads),
            previews: Arc::clone(&media.previews),
            rate_limits: Arc::clone(&shared.rate_limits),
            local_echo_order: Arc::clone(&shared.local_echo_order),
            client_events: Arc::clone(&shared.client_events),
            delayed_events: tasks.events.clone(),
            search: engine.search.search.clone(),
            email_validation: engine.mail.validation.clone(),
            related_redactions: tasks.related_redactions.clone(),
            registration: shared.registration.clone(),
            deactivation: shared.deactivation.clone(),
            reports: shared.reports.clone(),
            rendezvous: Arc::clone(&shared.rendezvous),
            room_resolver: Arc::clone(&shared.room_resolver),
            remote_room_summaries: Arc::clone(&shared.remote_room_summaries),
        }
    }
}

impl From<&Engine> for plexus_api_federation::Services {
    fn from(engine: &Engine) -> Self {
        let Engine { foundation, outgoing, rooms, accounts, e2ee, delivery, media, shared, .. } = engine;
        let Foundation { config, clock, server_name, signing_key, .. } = foundation;
        let RoomServices { rooms, receiver, inbox, members, profiles, .. } = rooms;
        let servers = KnownServers::new(Arc::clone(&outgoing.client), Arc::clone(&outgoing.key_ring));
        let limits = &config.ratelimits.rc_federation;
        let signed_requests = SignedRequests::new(server_name.clone(), Arc::new(servers), limits, clock.clone());
        let own_keys = OwnKeys::new(server_name.clone(), Arc::clone(signing_key), &config.keys, clock.clone());
        Self {
            config: Arc::clone(config),
            clock: clock.clone(),
            random: foundation.random.clone(),
            server_name: server_name.clone(),
            signed_requests: Arc::new(signed_requests),
            own_keys: Arc::new(own_keys),
            key_ring: Arc::clone(&outgoing.key_ring),
            sessions: accounts.sessions.clone(),
            device_keys: e2ee.device_keys.clone(),
            rooms: Arc::clone(rooms),
            room_resolver: Arc::clone(&shared.room_resolver),
            receiver: Arc::clone(receiver),
            inbox: Arc::clone(inbox),
            edus: Arc::clone(&delivery.edus),
            profiles: Arc::clone(profiles),
            membership_changer: Arc::clone(members),
            media: Arc::clone(&media.store),
            brought_invites: Arc::new(BroughtInvites::new(clock)),
        }
    }
}

impl From<&Engine> for plexus_api_admin::Services {
    fn from(engine: &Engine) -> Self {
        let Engine { foundation, accounts, shared, .. } = engine;
        Self {
            server_name: foundation.server_name.clone(),
            database: foundation.database.clone(),
            clock: foundation.clock.clone(),
            random: foundation.random.clone(),
            tokens: Arc::clone(&accounts.tokens),
            shared_secret: Arc::clone(&accounts.shared_secret),
            server_notices: shared.server_notices.clone(),
            registration: shared.registration.clone(),
        }
    }
}
