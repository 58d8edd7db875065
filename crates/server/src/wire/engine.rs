//! Every service of the server, built in order.

use std::sync::Arc;
use std::time::Duration;

use plexus_accounts::{Accounts, AccountsParts};
use plexus_base::config::Config;
use plexus_base::{Background, Clock, Random, Shutdown};
use plexus_media::{Downloads, MediaStore};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_rooms::inbox::Inbox;
use plexus_rooms::peers::{FederationPeers, Peers};
use plexus_rooms::{
    AutoJoin, EventSender, GuestRemoval, MembershipChanger, MembershipLimits, PduReceiver, Profiles, RoomCreator,
    Rooms, RoomsOptions, StateFiller, UserDirectory,
};
use plexus_service::{
    ClientEventSender, LocalEchoOrder, RateLimits, Registration, RemoteRoomSummaries, Reports, RoomResolver,
    UserDeactivation,
};
use plexus_store::{Database, DbError};

use super::federation::Outgoing;
use super::followers::{DeliveryServices, E2eeServices, SyncServices};
use super::{Parts, open_database, settings};
use crate::serve::StartError;

/// The shortest time after which `caches.expire_caches` evicts an entry.
const MIN_CACHE_LIFETIME: Duration = Duration::from_secs(60);

/// Every service of the server. A service uses only services above it.
pub(super) struct Engine {
    pub(super) foundation: Foundation,
    pub(super) outgoing: Outgoing,
    pub(super) rooms: RoomServices,
    pub(super) accounts: Accounts,
    pub(super) sync: SyncServices,
    pub(super) e2ee: E2eeServices,
    pub(super) delivery: DeliveryServices,
    pub(super) media: MediaServices,
    pub(super) shared: SharedServices,
}

/// What every service may be built from.
pub(super) struct Foundation {
    pub(super) config: Arc<Config>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) signing_key: Arc<SigningKey>,
    pub(super) shutdown: Shutdown,
    pub(super) server_name: ServerName,
    pub(super) database: Database,
    pub(super) background: Background,
}

/// The room engine.
pub(super) struct RoomServices {
    pub(super) rooms: Arc<Rooms>,
    pub(super) receiver: Arc<PduReceiver>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) sender: Arc<EventSender>,
    pub(super) creator: Arc<RoomCreator>,
    pub(super) members: Arc<MembershipChanger>,
    pub(super) profiles: Arc<Profiles>,
    pub(super) user_directory: Arc<UserDirectory>,
}

/// Media of this server and of others.
pub(super) struct MediaServices {
    pub(super) store: Arc<MediaStore>,
    pub(super) downloads: Arc<Downloads>,
}

/// What the APIs and commands share.
pub(super) struct SharedServices {
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) local_echo_order: Arc<LocalEchoOrder>,
    pub(super) client_events: Arc<ClientEventSender>,
    pub(super) registration: Registration,
    pub(super) deactivation: UserDeactivation,
    pub(super) reports: Reports,
    pub(super) room_resolver: Arc<RoomResolver>,
    pub(super) remote_room_summaries: Arc<RemoteRoomSummaries>,
}

impl Engine {
    /// Opens the database and builds every service on it. Nothing runs yet.
    pub(super) async fn build(parts: Parts) -> Result<Self, StartError> {
        let foundation = Foundation::open(parts).await?;
        let outgoing = Outgoing::build(&foundation).await?;
        let rooms = RoomServices::build(&foundation, &outgoing).await?;
        let accounts = accounts(&foundation, &rooms);
        let sync = SyncServices::build(&foundation, &rooms);
        let e2ee = E2eeServices::build(&foundation, &outgoing, &rooms).await?;
        let delivery = DeliveryServices::build(&foundation, &outgoing, &rooms, &sync, &e2ee).await?;
        let media = MediaServices::build(&foundation, &outgoing)?;
        let shared = SharedServices::build(&foundation, &outgoing, &rooms, &accounts, &sync)?;
        Ok(Self { foundation, outgoing, rooms, accounts, sync, e2ee, delivery, media, shared })
    }

    /// Starts the work that no request asks for.
    pub(super) async fn start_background(&self) -> Result<(), DbError> {
        let Foundation { config, background, .. } = &self.foundation;
        let RoomServices { rooms, receiver, inbox, members, user_directory, .. } = &self.rooms;
        inbox.resume().await?;
        let redaction_retention = config.blocking.redaction_retention_period;
        background.spawn_abortable("housekeeping of rooms", Arc::clone(rooms).run_housekeeping(redaction_retention));
        let caches = &config.caches.caches;
        if caches.expire_caches {
            let lifetime = caches.cache_entry_ttl.max(MIN_CACHE_LIFETIME);
            background.spawn_abortable("expiry of caches", Arc::clone(rooms).run_expiry(lifetime));
        }
        background.spawn_abortable("retries of received events", Arc::clone(inbox).run_retries());
        background.spawn_abortable("partial state", Arc::new(StateFiller::new(Arc::clone(receiver))).run());
        let guests = GuestRemoval::new(Arc::clone(rooms), Arc::clone(members));
        background.spawn_abortable("removal of guests", guests.run());
        background.spawn_abortable("user directory", Arc::clone(user_directory).run());
        background
            .spawn_abortable("housekeeping of access tokens", Arc::clone(&self.accounts.tokens).run_housekeeping());
        background.spawn_abortable("housekeeping of authentication", self.accounts.uia.clone().run_housekeeping());
        background.spawn_abortable("rooms of deactivated users", self.shared.deactivation.clone().resume());
        self.outgoing.start_background(background);
        self.sync.start_background(background);
        self.e2ee.start_background(background);
        self.delivery.start_background(background);
        Ok(())
    }
}

impl Foundation {
    async fn open(parts: Parts) -> Result<Self, StartError> {
        let Parts { config, clock, random, signing_key, shutdown } = parts;
        let server_name = ServerName::try_from(config.server.server_name.as_str())?;
        let database = open_database(&config).await?;
        let (signing_key, background) = (Arc::new(signing_key), Background::default());
        Ok(Self { config, clock, random, signing_key, shutdown, server_name, database, background })
    }
}

impl RoomServices {
    async fn build(foundation: &Foundation, outgoing: &Outgoing) -> Result<Self, StartError> {
        let Foundation { config, clock, random, signing_key, server_name, database, background, .. } = foundation;
        let peers = FederationPeers::new(Arc::clone(&outgoing.client), Arc::clone(&outgoing.key_ring));
        let peers: Arc<dyn Peers> = Arc::new(peers);
        let rooms = Rooms::start(RoomsOptions {
            db: database.clone(),
            clock: clock.clone(),
            random: random.clone(),
            background: background.clone(),
            server_name: server_name.clone(),
            signing_key: Arc::clone(signing_key),
            peers: Some(Arc::clone(&peers)),
            cache_bytes: settings::room_cache_bytes(config),
            describing: settings::describing(&config.api),
            limits: MembershipLimits::new(&config.ratelimits, config.server.block_non_admin_invites, clock),
            forget_on_leave: config.rooms.forget_rooms_on_leave,
        });
        rooms.erased_users().load(database).await?;
        let receiver = Arc::new(PduReceiver::new(Arc::clone(&rooms), peers));
        let invite_profiles = config.server.include_profile_data_on_invite;
        let members = MembershipChanger::new(Arc::clone(&rooms), invite_profiles).federating(Arc::clone(&receiver));
        Ok(Self {
            inbox: Inbox::new(Arc::clone(&receiver)),
            sender: Arc::new(EventSender::new(Arc::clone(&rooms))),
            creator: Arc::new(RoomCreator::new(Arc::clone(&rooms))),
            members: Arc::new(members),
            profiles: Arc::new(Profiles::new(Arc::clone(&rooms))),
            user_directory: Arc::new(UserDirectory::new(Arc::clone(&rooms))),
            receiver,
            rooms,
        })
    }
}

fn accounts(foundation: &Foundation, rooms: &RoomServices) -> Accounts {
    let Foundation { config, clock, random, server_name, database, .. } = foundation;
    Accounts::new(AccountsParts {
        db: database.clone(),
        clock: clock.clone(),
        random: random.clone(),
        profiles: rooms.rooms.profile_cache(),
        erased: rooms.rooms.erased_users(),
        settings: settings::accounts(config, server_name.clone()),
    })
}

impl MediaServices {
    fn build(foundation: &Foundation, outgoing: &Outgoing) -> Result<Self, StartError> {
        let Foundation { config, clock, random, server_name, database, background, .. } = foundation;
        let store = settings::media(config);
        let store = MediaStore::open(store, database.clone(), clock.clone(), random.clone(), background.clone())?;
        let store = Arc::new(store);
        let client = Arc::clone(&outgoing.client);
        let downloads = settings::downloads(config, server_name.clone(), Arc::clone(&store), client);
        Ok(Self { store, downloads: Arc::new(downloads) })
    }
}

impl SharedServices {
    fn build(
        foundation: &Foundation,
        outgoing: &Outgoing,
        rooms: &RoomServices,
        accounts: &Accounts,
        sync: &SyncServices,
    ) -> Result<Self, StartError> {
        let Foundation { config, clock, server_name, database, background, .. } = foundation;
        let RoomServices { rooms, sender, members, .. } = rooms;
        let client = &outgoing.client;
        let rate_limits = Arc::new(RateLimits::new(&config.ratelimits, clock));
        // Not the given clock: it orders two answers on the network.
        let local_echo_order = Arc::new(LocalEchoOrder::new(Clock::system()));
        let client_events = ClientEventSender::new(
            Arc::clone(sender),
            Arc::clone(&rate_limits),
            Arc::clone(&local_echo_order),
            Arc::clone(&sync.presence),
        );
        let auto_join = settings::auto_join(config, server_name)?;
        let auto_join = Arc::new(AutoJoin::new(Arc::clone(rooms), Arc::clone(members), auto_join));
        let resolver = RoomResolver::new(database.clone(), Arc::clone(rooms), Arc::clone(client));
        let summaries = RemoteRoomSummaries::new(Arc::clone(rooms), Arc::clone(client), clock.clone());
        let deactivation = UserDeactivation::new(
            Arc::clone(rooms),
            Arc::clone(members),
            accounts.deactivation.clone(),
            background.clone(),
        );
        Ok(Self {
            rate_limits,
            local_echo_order,
            client_events: Arc::new(client_events),
            registration: Registration::new(accounts.registrar.clone(), auto_join),
            deactivation,
            reports: Reports::new(database.clone(), clock.clone()),
            room_resolver: Arc::new(resolver),
            remote_room_summaries: Arc::new(summaries),
        })
    }
}
