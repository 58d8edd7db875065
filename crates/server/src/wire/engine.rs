//! Every service of the server, built in order.

use std::sync::Arc;

use plexus_accounts::{Accounts, AccountsParts};
use plexus_base::Clock;
use plexus_rooms::AutoJoin;
use plexus_service::rendezvous::RendezvousSessions;
use plexus_service::{
    ClientEventParts, ClientEventSender, LocalEchoOrder, LoginSessions, NoticeRoomServices, ProfileRules, RateLimits,
    Registration, RemoteRoomSummaries, Reports, RoomDirectory, RoomResolver, ServerNotices, UserDeactivation,
};

use super::federation::Outgoing;
use super::followers::{DeliveryServices, E2eeServices, SyncServices};
use super::foundation::{Foundation, Parts};
use super::mail::MailServices;
use super::media::MediaServices;
use super::rooms::RoomServices;
use super::search::SearchServices;
use super::tasks::TaskServices;
use super::{BACKGROUND_TIMEOUT, settings};
use crate::start_error::StartError;

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
    pub(super) mail: MailServices,
    pub(super) shared: SharedServices,
    pub(super) tasks: TaskServices,
    pub(super) search: SearchServices,
}

/// The services that the APIs and commands share.
pub(super) struct SharedServices {
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) local_echo_order: Arc<LocalEchoOrder>,
    pub(super) profile_rules: Arc<ProfileRules>,
    pub(super) client_events: Arc<ClientEventSender>,
    pub(super) registration: Registration,
    pub(super) deactivation: UserDeactivation,
    pub(super) reports: Reports,
    pub(super) login_sessions: LoginSessions,
    pub(super) room_directory: RoomDirectory,
    pub(super) room_resolver: Arc<RoomResolver>,
    pub(super) remote_room_summaries: Arc<RemoteRoomSummaries>,
    pub(super) rendezvous: Arc<RendezvousSessions>,
    pub(super) server_notices: Option<Arc<ServerNotices>>,
}

impl Engine {
    /// Opens the database, builds every service on it, and starts the background work. If that fails, everything is
    /// closed again.
    pub(super) async fn start(parts: Parts) -> Result<Self, StartError> {
        let foundation = Foundation::open(parts).await?;
        let (background, database) = (foundation.background.clone(), foundation.database.clone());
        let started = async {
            let engine = Self::build(foundation).await?;
            engine.start_background().await?;
            Ok(engine)
        };
        let started = started.await;
        if started.is_err() {
            background.shutdown(BACKGROUND_TIMEOUT).await;
            database.close().await;
        }
        started
    }

    /// Builds every service. Nothing runs yet.
    async fn build(foundation: Foundation) -> Result<Self, StartError> {
        let outgoing = Outgoing::build(&foundation).await?;
        let rooms = RoomServices::build(&foundation, &outgoing).await?;
        let accounts = accounts(&foundation)?;
        let sync = SyncServices::build(&foundation, &rooms);
        let e2ee = E2eeServices::build(&foundation, &outgoing, &rooms).await?;
        let delivery = DeliveryServices::build(&foundation, &outgoing, &rooms, &sync, &e2ee).await?;
        let media = MediaServices::build(&foundation, &outgoing).await?;
        let mail = MailServices::build(&foundation, &outgoing)?;
        let shared = SharedServices::build(&foundation, &outgoing, &rooms, &accounts, &sync)?;
        let SharedServices { rate_limits, client_events, .. } = &shared;
        let tasks = TaskServices::build(&foundation, &rooms, &accounts, rate_limits, client_events).await?;
        let search = SearchServices::build(&foundation, &rooms, &sync);
        Ok(Self { foundation, outgoing, rooms, accounts, sync, e2ee, delivery, media, mail, shared, tasks, search })
    }

    /// Starts the background work.
    async fn start_background(&self) -> Result<(), StartError> {
        let background = &self.foundation.background;
        self.accounts.registrar.register_senders().await?;
        self.rooms.start_background(&self.foundation).await?;
        background
            .spawn_abortable("housekeeping of access tokens", Arc::clone(&self.accounts.tokens).run_housekeeping());
        background.spawn_abortable("housekeeping of authentication", self.accounts.uia.clone().run_housekeeping());
        background.spawn_abortable("rooms of deactivated users", self.shared.deactivation.clone().run());
        self.outgoing.start_background(background);
        self.sync.start_background(background);
        self.e2ee.start_background(background);
        self.delivery.start_background(background);
        self.media.start_background(background).await?;
        let handlers =
            self.media.task_handlers().into_iter().chain([self.search.task_handler()]).chain(self.mail.task_handler());
        self.tasks.start_background(&self.foundation, handlers).await?;
        self.search.start_background(&self.foundation).await?;
        Ok(())
    }
}

fn accounts(foundation: &Foundation) -> Result<Accounts, StartError> {
    let Foundation { config, clock, random, server_name, database, app_services, .. } = foundation;
    Ok(Accounts::new(AccountsParts {
        db: database.clone(),
        clock: clock.clone(),
        random: random.clone(),
        settings: settings::accounts(config, server_name.clone())?,
        app_services: Arc::clone(app_services),
    }))
}

impl SharedServices {
    fn build(
        foundation: &Foundation,
        outgoing: &Outgoing,
        rooms: &RoomServices,
        accounts: &Accounts,
        sync: &SyncServices,
    ) -> Result<Self, StartError> {
        let Foundation { config, clock, random, server_name, database, background, .. } = foundation;
        let RoomServices { rooms, writer, sender, members, creator, .. } = rooms;
        let room_services = NoticeRoomServices {
            rooms: Arc::clone(rooms),
            creator: Arc::clone(creator),
            members: Arc::clone(members),
            sender: Arc::clone(sender),
        };
        let Outgoing { client, policy_hooks, .. } = outgoing;
        let rate_limits = Arc::new(RateLimits::new(&config.ratelimits, clock));
        // Not the given clock: it orders two responses on the network.
        let local_echo_order = Arc::new(LocalEchoOrder::new(Clock::system()));
        let profile_rules = Arc::new(ProfileRules::new(&config.blocking, database.clone(), server_name.clone()));
        let client_events = ClientEventSender::new(ClientEventParts {
            sender: Arc::clone(sender),
            members: Arc::clone(members),
            limits: Arc::clone(&rate_limits),
            echo_order: Arc::clone(&local_echo_order),
            presence: Arc::clone(&sync.presence),
            profile_rules: Arc::clone(&profile_rules),
            random: random.clone(),
            policy_hooks: policy_hooks.clone(),
        });
        let auto_join = settings::auto_join(config, server_name)?;
        let auto_join = Arc::new(AutoJoin::new(writer, Arc::clone(members), auto_join));
        let resolver = RoomResolver::new(
            database.clone(),
            Arc::clone(rooms),
            Arc::clone(client),
            Arc::clone(&foundation.app_services),
            outgoing.app_services.clone(),
        );
        let summaries = RemoteRoomSummaries::new(Arc::clone(rooms), Arc::clone(client), clock.clone());
        let deactivation = UserDeactivation::new(
            Arc::clone(rooms),
            Arc::clone(members),
            accounts.deactivation.clone(),
            background.clone(),
            clock.clone(),
            policy_hooks.clone(),
        );
        Ok(Self {
            rate_limits,
            local_echo_order,
            profile_rules,
            client_events: Arc::new(client_events),
            registration: Registration::new(accounts.registrar.clone(), auto_join, policy_hooks.clone()),
            deactivation,
            login_sessions: LoginSessions::new(accounts.sessions.clone(), policy_hooks.clone()),
            room_directory: RoomDirectory::new(database.clone(), policy_hooks.clone()),
            reports: Reports::new(database.clone(), clock.clone()),
            room_resolver: Arc::new(resolver),
            remote_room_summaries: Arc::new(summaries),
            server_notices: settings::server_notices(config, server_name)?
                .map(|settings| Arc::new(ServerNotices::new(database.clone(), room_services, settings))),
            rendezvous: Arc::new(RendezvousSessions::new(clock.clone(), random.clone())),
        })
    }
}
