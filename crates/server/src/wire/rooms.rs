//! The room engine.

use std::sync::Arc;
use std::time::Duration;

use plexus_federation::inbox::Inbox;
use plexus_federation::peers::FederationPeers;
use plexus_federation::{PartialStateResync, PduReceiver, PduReceiverParts, RemoteMembershipChanger};
use plexus_protocol::id::RoomId;
use plexus_rooms::{
    ComplexityTasks, DummyEvents, EventSender, GuestRemoval, Housekeeping, MembershipChanger, MembershipLimits,
    OwnPolicy, Profiles, RoomCreator, RoomWriter, Rooms, RoomsOptions, SenderRules, StickyJudge, UserDirectory,
};
use plexus_service::ComplexRoomTasks;
use plexus_store::DbError;

use super::federation::Outgoing;
use super::foundation::Foundation;
use super::settings;
use crate::start_error::StartError;

/// The shortest time after which `caches.expire_caches` evicts an entry.
const MIN_CACHE_LIFETIME: Duration = Duration::from_secs(60);

/// The room engine.
pub(super) struct RoomServices {
    pub(super) rooms: Arc<Rooms>,
    pub(super) writer: Arc<RoomWriter>,
    pub(super) receiver: Arc<PduReceiver>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) sender: Arc<EventSender>,
    pub(super) creator: Arc<RoomCreator>,
    pub(super) members: Arc<MembershipChanger>,
    pub(super) profiles: Arc<Profiles>,
    pub(super) user_directory: Arc<UserDirectory>,
}

/// Returns this server as a policy server, if the configuration makes it one.
fn own_policy(foundation: &Foundation) -> Result<Option<Arc<OwnPolicy>>, StartError> {
    let Some(room) = &foundation.config.federation.policy_server_rules_room else { return Ok(None) };
    let room = RoomId::try_from(room.as_str()).map_err(|error| StartError::PolicyRulesRoom(error.to_string()))?;
    Ok(Some(Arc::new(OwnPolicy::new(&foundation.signing_key, foundation.server_name.clone(), room))))
}

impl RoomServices {
    pub(super) async fn build(foundation: &Foundation, outgoing: &Outgoing) -> Result<Self, StartError> {
        let Foundation { config, clock, random, signing_key, server_name, database, background, .. } = foundation;
        let peers = FederationPeers::new(Arc::clone(&outgoing.client), Arc::clone(&outgoing.key_ring));
        let peers = Arc::new(peers);
        let writer = RoomWriter::start(RoomsOptions {
            db: database.clone(),
            clock: clock.clone(),
            random: random.clone(),
            background: background.clone(),
            server_name: server_name.clone(),
            signing_key: Arc::clone(signing_key),
            policy_servers: Some(Arc::<FederationPeers>::clone(&peers)),
            own_policy: own_policy(foundation)?,
            policy_hooks: outgoing.policy_hooks.clone(),
            remote_aliases: Some(Arc::<FederationPeers>::clone(&peers)),
            cache_bytes: settings::room_cache_bytes(config),
            stripped_state_types: settings::stripped_state_types(&config.api),
            limits: MembershipLimits::new(&config.ratelimits, config.server.block_non_admin_invites, clock),
            sender_rules: SenderRules { notices_user: settings::notices_user(config, server_name)? },
            invite_filtering: config.experimental.experimental_features.msc4155_enabled,
            forget_on_leave: config.rooms.forget_rooms_on_leave,
            expiring_messages: config.server.enable_ephemeral_messages,
            accepted_invites: settings::accepted_invites(&config.auto_accept_invites.auto_accept_invites),
            sticky_events: config.experimental.experimental_features.msc4354_enabled,
        });
        let rooms = Arc::clone(writer.rooms());
        rooms.erased_users().load(database).await?;
        rooms.sticky_events().load(database).await?;
        let receiver = Arc::new(PduReceiver::new(PduReceiverParts {
            writer: Arc::clone(&writer),
            peers,
            db: database.clone(),
            clock: clock.clone(),
            random: random.clone(),
            background: background.clone(),
            signing_key: Arc::clone(signing_key),
        }));
        let invite_profiles = config.server.include_profile_data_on_invite;
        let remote = Arc::new(RemoteMembershipChanger::new(Arc::clone(&receiver)));
        let tasks = || -> Arc<dyn ComplexityTasks> {
            Arc::new(ComplexRoomTasks::new(database.clone(), clock.clone(), Arc::clone(&foundation.tasks)))
        };
        let members = MembershipChanger::new(Arc::clone(&writer), invite_profiles)
            .federating(remote)
            .limiting_remote_rooms(settings::remote_room_limit(&config.blocking.limit_remote_rooms, tasks));
        Ok(Self {
            inbox: Inbox::new(Arc::clone(&receiver)),
            sender: Arc::new(EventSender::new(Arc::clone(&writer))),
            creator: Arc::new(RoomCreator::new(Arc::clone(&writer))),
            members: Arc::new(members),
            profiles: Arc::new(Profiles::new(Arc::clone(&writer))),
            user_directory: Arc::new(UserDirectory::new(Arc::clone(&rooms), outgoing.policy_hooks.clone())),
            receiver,
            rooms,
            writer,
        })
    }

    /// Continues with events that were received before the last shutdown, and starts the tasks.
    pub(super) async fn start_background(&self, foundation: &Foundation) -> Result<(), DbError> {
        let Foundation { config, clock, database, background, .. } = foundation;
        let RoomServices { rooms, writer, receiver, inbox, members, user_directory, .. } = self;
        inbox.resume().await?;
        let redaction_retention = config.blocking.redaction_retention_period;
        let (db, clock, sticky) = (database.clone(), clock.clone(), rooms.sticky_events());
        let housekeeping = Housekeeping { db, clock, sticky, redaction_retention };
        background.spawn_abortable("housekeeping of rooms", housekeeping.run());
        let caches = &config.caches.caches;
        if caches.expire_caches {
            let lifetime = caches.cache_entry_ttl.max(MIN_CACHE_LIFETIME);
            background.spawn_abortable("expiry of caches", Arc::clone(rooms).run_expiry(lifetime));
        }
        background.spawn_abortable("retries of received events", Arc::clone(inbox).run_retries());
        background.spawn_abortable("partial state", Arc::new(PartialStateResync::new(Arc::clone(receiver))).run());
        if config.server.cleanup_extremities_with_dummy_events {
            let threshold = usize::try_from(config.server.dummy_events_threshold).unwrap_or(usize::MAX);
            let dummy_events = DummyEvents::new(Arc::clone(&self.writer), threshold);
            background.spawn_abortable("merging of forward extremities", dummy_events.run());
        }
        if rooms.sticky_events().is_enabled() {
            background.spawn_abortable("sticky events", StickyJudge::new(Arc::clone(writer)).run());
        }
        let guests = GuestRemoval::new(Arc::clone(rooms), Arc::clone(members));
        background.spawn_abortable("removal of guests", guests.run());
        background.spawn_abortable("user directory", Arc::clone(user_directory).run());
        Ok(())
    }
}
