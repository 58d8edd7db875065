//! Builds everything: the only place that knows every part of the program.

mod delivery;
mod federation;
pub(crate) mod settings;

use std::sync::Arc;
use std::time::Duration;

use plexus_accounts::{Accounts, TokenChecker};
use plexus_base::config::{Config, DatabaseKind};
use plexus_base::{Clock, Random, Shutdown};
use plexus_delivery::FederationOut;
use plexus_http::BodyIntake;
use plexus_media::MediaStore;
use plexus_net::FederationClient;
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
use plexus_store::db::OptionsError;
use plexus_store::repo::erasure::ErasedUsers;
use plexus_store::repo::profiles::ProfileCache;
use plexus_store::{Database, DbError, Options, maintenance, repo};
use tokio::task::JoinSet;

use crate::listen::Routers;
use crate::serve::StartError;
use crate::users::{Closing, UserAdmin};
use delivery::Delivery;

/// What the program is built from.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// The key events are signed with.
    pub signing_key: SigningKey,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// The program, built: a router and what works in the background.
pub struct Application {
    /// Every route, without what each listener adds, and the metrics.
    pub routers: Routers,
    /// What reads the bodies of requests.
    pub bodies: Arc<BodyIntake>,
    /// What operators do with accounts.
    pub users: Arc<UserAdmin>,
    database: Database,
    tokens: Arc<TokenChecker>,
    federation_out: Arc<FederationOut>,
    background: JoinSet<()>,
}

impl Application {
    /// Whether nobody has registered yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_empty(&self) -> Result<bool, DbError> {
        self.database.read(|tx| Ok(repo::users::count_active(tx)? == 0)).await
    }

    /// Ends the background work, writes what is still in memory only, and closes the database.
    pub async fn close(mut self) {
        self.federation_out.stop().await;
        self.background.shutdown().await;
        if let Err(error) = self.tokens.flush_last_seen().await {
            tracing::warn!("could not record when devices were last seen: {error}");
        }
        self.federation_out.close().await;
        self.database.close().await;
    }
}

/// Opens the database and builds every part on it.
///
/// # Errors
/// When the database cannot be opened or belongs to another server.
pub async fn build(parts: Parts) -> Result<Application, StartError> {
    let Parts { config, clock, random, signing_key, shutdown } = parts;
    let server_name = ServerName::try_from(config.server.server_name.as_str())?;
    let database = open_database(&config).await?;
    let mut background = JoinSet::new();

    let signing_key = Arc::new(signing_key);
    let outgoing = federation::outgoing(federation::Ground {
        config: &config,
        clock: &clock,
        random: &random,
        db: &database,
        server_name: &server_name,
        signing_key: &signing_key,
        background: &mut background,
    });
    let outgoing = outgoing.await?;
    let peers = FederationPeers::new(Arc::clone(&outgoing.client), Arc::clone(&outgoing.key_ring));
    let peers: Arc<dyn Peers> = Arc::new(peers);
    let rooms = Rooms::start(RoomsOptions {
        db: database.clone(),
        clock: clock.clone(),
        random: random.clone(),
        server_name: server_name.clone(),
        signing_key: Arc::clone(&signing_key),
        peers: Some(Arc::clone(&peers)),
        cache_bytes: settings::room_cache_bytes(&config),
        describing: settings::describing(&config.api),
        limits: MembershipLimits::new(&config.ratelimits, config.server.block_non_admin_invites, &clock),
        forget_on_leave: config.rooms.forget_rooms_on_leave,
    });
    rooms.erased_users().load(&database).await?;
    let receiver = Arc::new(PduReceiver::new(Arc::clone(&rooms), peers));
    let inbox = Inbox::new(Arc::clone(&receiver));
    let followers = delivery::build(delivery::Ground {
        config: &config,
        clock: &clock,
        db: &database,
        rooms: &rooms,
        server_name: server_name.clone(),
        federation: Arc::clone(&outgoing.client),
        shutdown: &shutdown,
        background: &mut background,
    });
    let followers = followers.await?;
    inbox.resume().await?;
    background.spawn(Arc::clone(&inbox).run_retries());
    background.spawn(Arc::new(StateFiller::new(Arc::clone(&receiver))).run());
    let (edus, federation_out) = (Arc::clone(&followers.edus), Arc::clone(&followers.federation_out));

    let options = settings::accounts(&config, server_name.clone());
    let of_users = (rooms.profile_cache(), rooms.erased_users());
    let accounts = Accounts::new(database.clone(), clock.clone(), random.clone(), of_users, options);
    let tokens = Arc::clone(&accounts.tokens);
    background.spawn(Arc::clone(&rooms).run_housekeeping(config.blocking.redaction_retention_period));
    let caches = &config.caches.caches;
    if caches.expire_caches {
        background.spawn(Arc::clone(&rooms).run_expiry(caches.cache_entry_ttl.max(Duration::from_secs(60))));
    }
    background.spawn(Arc::clone(&tokens).run_housekeeping());
    background.spawn(accounts.uia.clone().run_housekeeping());

    let invite_profiles = config.server.include_profile_data_on_invite;
    let members = MembershipChanger::new(Arc::clone(&rooms), invite_profiles).federating(Arc::clone(&receiver));
    let members = Arc::new(members);
    background.spawn(GuestRemoval::new(Arc::clone(&rooms), Arc::clone(&members)).run());
    let auto_join = settings::auto_join(&config, &server_name)?;
    let auto_join = Arc::new(AutoJoin::new(Arc::clone(&rooms), Arc::clone(&members), auto_join));
    let registration = Registration::new(accounts.registrar.clone(), auto_join);
    let admin = plexus_api_admin::Services {
        server_name: server_name.clone(),
        database: database.clone(),
        clock: clock.clone(),
        random: random.clone(),
        tokens: Arc::clone(&tokens),
        registration: registration.clone(),
        shared_secret: accounts.shared_secret.clone(),
    };
    let administration = accounts.administration.clone();
    let media = settings::media(&config);
    let media = MediaStore::open(media, database.clone(), clock.clone(), random.clone())?;
    let foundation = Foundation { config, clock, random, database: database.clone(), shutdown, receiver };
    let others = Arc::clone(&outgoing.client);
    let members = (members, registration);
    let client = client_services(foundation, rooms, members, followers, accounts, Arc::new(media), others);
    background.spawn(client.deactivation.clone().resume());
    let users = Arc::new(UserAdmin::new(administration, Closing::Running(client.deactivation.clone())));
    let metrics_alone = crate::metrics::everywhere(Arc::clone(&client.rooms));
    background.spawn(Arc::clone(&client.user_directory).run());
    let metrics = client.config.metrics.enable_metrics.then(|| crate::metrics::router(Arc::clone(&client.rooms)));
    let federation = federation::services(&client, server_name, signing_key, &outgoing, (inbox, edus));
    let bodies = BodyIntake::new(client.clock.clone());
    let router = plexus_api_client::routes()
        .build(client.into(), &bodies)
        .merge(plexus_api_admin::routes().build(admin.into(), &bodies))
        .merge(plexus_api_federation::router(federation.into(), &bodies))
        .merge(metrics.unwrap_or_default());
    let routers = Routers { all: router, metrics: metrics_alone };
    Ok(Application { routers, bodies, users, database, tokens, federation_out, background })
}

/// What every endpoint may need, whatever it is about.
struct Foundation {
    config: Arc<Config>,
    clock: Clock,
    random: Random,
    database: Database,
    shutdown: Shutdown,
    receiver: Arc<PduReceiver>,
}

fn client_services(
    foundation: Foundation,
    rooms: Arc<Rooms>,
    (memberships, registration): (Arc<MembershipChanger>, Registration),
    followers: Delivery,
    accounts: Accounts,
    media: Arc<MediaStore>,
    other_servers: Arc<FederationClient>,
) -> plexus_api_client::Services {
    let Foundation { config, clock, random, database, shutdown, receiver } = foundation;
    let limits = Arc::new(RateLimits::new(&config.ratelimits, &clock));
    let local_echo_order = Arc::new(LocalEchoOrder::new(Clock::system()));
    let sender = Arc::new(EventSender::new(Arc::clone(&rooms)));
    let client_events = ClientEventSender::new(
        Arc::clone(&sender),
        Arc::clone(&limits),
        Arc::clone(&local_echo_order),
        Arc::clone(&followers.presence),
    );
    let downloads =
        settings::downloads(&config, rooms.server_name().clone(), Arc::clone(&media), Arc::clone(&other_servers));
    plexus_api_client::Services {
        reports: Reports::new(database.clone(), clock.clone()),
        downloads: Arc::new(downloads),
        room_resolver: Arc::new(RoomResolver::new(database.clone(), Arc::clone(&rooms), Arc::clone(&other_servers))),
        remote_room_summaries: Arc::new(RemoteRoomSummaries::new(
            Arc::clone(&rooms),
            Arc::clone(&other_servers),
            clock.clone(),
        )),
        other_servers,
        client_events: Arc::new(client_events),
        rate_limits: limits,
        local_echo_order,
        config,
        clock,
        random,
        database,
        shutdown,
        tokens: accounts.tokens,
        account_settings: accounts.settings,
        sessions: accounts.sessions,
        registrar: accounts.registrar,
        logins: accounts.logins,
        uia: accounts.uia,
        devices: accounts.devices,
        device_keys: followers.device_keys,
        key_backups: followers.key_backups,
        media,
        event_sender: sender,
        registration,
        room_creator: Arc::new(RoomCreator::new(Arc::clone(&rooms))),
        deactivation: UserDeactivation::new(Arc::clone(&rooms), Arc::clone(&memberships), accounts.deactivation),
        membership_changer: memberships,
        profiles: Arc::new(Profiles::new(Arc::clone(&rooms))),
        user_directory: Arc::new(UserDirectory::new(Arc::clone(&rooms))),
        rooms,
        receiver,
        sync: followers.sync,
        filters: followers.filters,
        receipts: followers.receipts,
        typing: followers.typing,
        presence: followers.presence,
        to_device: followers.to_device,
        remote_devices: followers.remote_devices,
        notifications: followers.notifications,
    }
}

/// The accounts of a server that is not running, and the database they are in, which the caller closes. A database is
/// neither made nor migrated: the server does that at its start.
///
/// # Errors
/// When there is no database of this version, or a server is using it.
pub async fn stopped_users(config: &Config) -> Result<(Database, UserAdmin), StartError> {
    /// Profiles in memory, in bytes: of those whom a single command is about.
    const PROFILE_BYTES: usize = 64 * 1024;
    let options = database_options(config)?;
    let checked = tokio::task::spawn_blocking(move || maintenance::require_current(&options)).await;
    checked.map_err(std::io::Error::other)??;
    let database = open_database(config).await?;
    let settings = settings::accounts(config, ServerName::try_from(config.server.server_name.as_str())?);
    // No event is shown here, so nobody needs to know who has been erased before.
    let of_users = (ProfileCache::new(PROFILE_BYTES), ErasedUsers::default());
    let accounts = Accounts::new(database.clone(), Clock::system(), Random::system(), of_users, settings);
    Ok((database, UserAdmin::new(accounts.administration, Closing::Stopped(accounts.deactivation))))
}

/// Where the configuration says the database is; SQLite paths are relative to the current directory, as in Synapse.
///
/// # Errors
/// When `database.args` holds something wrong.
pub fn database_options(config: &Config) -> Result<Options, OptionsError> {
    let Some(database) = &config.database.database else {
        let path = config.database.database_path.clone();
        return Ok(Options::sqlite(path.unwrap_or_else(|| "homeserver.db".into())));
    };
    let name = match database.name {
        DatabaseKind::Sqlite => "sqlite3",
        DatabaseKind::Postgres => "psycopg2",
    };
    let unsafe_locale = database.allow_unsafe_locale;
    Options::from_config(name, &database.args, unsafe_locale, std::path::Path::new(""))
}

async fn open_database(config: &Config) -> Result<Database, StartError> {
    let options = database_options(config)?;
    let configured = config.server.server_name.clone();
    // Opening blocks: it may have to bring the schema up to date.
    let opened = tokio::task::spawn_blocking(move || Database::open(&options));
    let database = opened.await.map_err(std::io::Error::other)??;
    let name = configured.clone();
    let stored = database.write(move |tx| repo::server::claim(tx, &name)).await;
    match stored {
        Ok(stored) if stored == configured => Ok(database),
        Ok(stored) => {
            database.close().await;
            Err(StartError::ServerName { stored, configured })
        }
        Err(error) => {
            database.close().await;
            Err(DbError::into(error))
        }
    }
}
