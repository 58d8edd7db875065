//! The services that endpoints may use by `State<Type>`: a handler's parameters are its only powers.

use std::sync::Arc;

use plexus_accounts::{
    Administration, Devices, Logins, Registrar, Sessions, Settings, TokenChecker, UserInteractiveAuth,
};
use plexus_base::config::Config;
use plexus_base::{AppServices, Clock, Random, Shutdown};
use plexus_delivery::AppServiceOut;
use plexus_e2ee::RemoteDevices;
use plexus_e2ee::{CrossSigning, DeviceKeys, KeyBackups};
use plexus_federation::PduReceiver;
use plexus_media::{Downloads, MediaStore, Previews};
use plexus_net::{AppServiceClient, FederationClient};
use plexus_rooms::{EventSender, MembershipChanger, Profiles, RoomCreator, Rooms, UserDirectory};
use plexus_service::rendezvous::RendezvousSessions;
use plexus_service::search::Search;
use plexus_service::third_party_networks::ThirdPartyNetworks;
use plexus_service::{
    ClientEventSender, DehydratedDevices, DelayedEvents, EmailValidation, LocalEchoOrder, LoginSessions, ProfileRules,
    RateLimits, Registration, RelatedRedactions, RemoteRoomSummaries, Reports, RoomDirectory, RoomResolver,
    UserDeactivation,
};
use plexus_store::Database;
use plexus_sync::{
    EventStream, Filters, Notifications, PredefinedRules, Presence, Receipts, SettingsCache, SlidingSync, SyncEngine,
    ThreadSubscriptions, ToDevice, Typing,
};

plexus_http::services! {
    /// All services of the client-server API's endpoints; the server's `wire` builds them.
    #[expect(missing_docs, reason = "a field has the name of its type")]
    pub struct Services {
        pub config: Arc<Config>,
        pub clock: Clock,
        pub random: Random,
        pub database: Database,
        pub app_services: Arc<AppServices>,
        pub app_service_client: AppServiceClient,
        pub app_service_out: Arc<AppServiceOut>,
        pub third_party_networks: Arc<ThirdPartyNetworks>,
        pub tokens: Arc<TokenChecker>,
        pub account_settings: Arc<Settings>,
        pub sessions: Sessions,
        pub login_sessions: LoginSessions,
        pub registrar: Registrar,
        pub logins: Logins,
        pub uia: UserInteractiveAuth,
        pub administration: Administration,
        pub devices: Devices,
        pub dehydrated_devices: DehydratedDevices,
        pub deactivation: UserDeactivation,
        pub device_keys: DeviceKeys,
        pub cross_signing: CrossSigning,
        pub key_backups: KeyBackups,
        pub rate_limits: Arc<RateLimits>,
        pub local_echo_order: Arc<LocalEchoOrder>,
        pub media: Arc<MediaStore>,
        pub downloads: Arc<Downloads>,
        pub previews: Arc<Previews>,
        pub other_servers: Arc<FederationClient>,
        pub rooms: Arc<Rooms>,
        pub receiver: Arc<PduReceiver>,
        pub room_resolver: Arc<RoomResolver>,
        pub room_directory: RoomDirectory,
        pub remote_room_summaries: Arc<RemoteRoomSummaries>,
        pub event_sender: Arc<EventSender>,
        pub client_events: Arc<ClientEventSender>,
        pub delayed_events: DelayedEvents,
        pub search: Option<Arc<Search>>,
        pub email_validation: Option<Arc<EmailValidation>>,
        pub related_redactions: RelatedRedactions,
        pub room_creator: Arc<RoomCreator>,
        pub registration: Registration,
        pub membership_changer: Arc<MembershipChanger>,
        pub profiles: Arc<Profiles>,
        pub profile_rules: Arc<ProfileRules>,
        pub user_directory: Arc<UserDirectory>,
        pub sync: Arc<SyncEngine>,
        pub event_stream: Arc<EventStream>,
        pub thread_subscriptions: ThreadSubscriptions,
        pub settings: Arc<SettingsCache>,
        pub predefined_rules: PredefinedRules,
        pub sliding_sync: Arc<SlidingSync>,
        pub filters: Arc<Filters>,
        pub receipts: Arc<Receipts>,
        pub typing: Arc<Typing>,
        pub presence: Arc<Presence>,
        pub to_device: Arc<ToDevice>,
        pub remote_devices: Arc<RemoteDevices>,
        pub notifications: Arc<Notifications>,
        pub reports: Reports,
        pub rendezvous: Arc<RendezvousSessions>,
        pub shutdown: Shutdown,
    }
}
