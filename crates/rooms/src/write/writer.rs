//! The service that writes to rooms.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use plexus_base::config::PrejoinStateEntry;
use plexus_base::{Background, Clock, Random};
use plexus_net::PolicyHooks;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_store::Database;

use crate::model::accepted_invites::AcceptedInvites;
use crate::model::invite_permissions::InvitePermissionReader;
use crate::model::limits::MembershipLimits;
use crate::model::nids::Nids;
use crate::model::rooms::{Rooms, RoomsParts};
use crate::write::own_policy::OwnPolicy;
use crate::write::peers::{PolicyServers, RemoteAliases};
use crate::write::persist::Persister;
use crate::write::sender_rules::SenderRules;
use crate::write::transactions::Transactions;

/// The settings and dependencies of the room engine.
pub struct RoomsOptions {
    /// The database.
    pub db: Database,
    /// The clock.
    pub clock: Clock,
    /// Randomness, for the ids of rooms before version 12.
    pub random: Random,
    /// Runs tasks that go on when their request has ended.
    pub background: Background,
    /// This server.
    pub server_name: ServerName,
    /// The key that this server signs events with.
    pub signing_key: Arc<SigningKey>,
    /// The policy servers; `None` if this server does not federate.
    pub policy_servers: Option<Arc<dyn PolicyServers>>,
    /// This server as a policy server, if it is one.
    pub own_policy: Option<Arc<OwnPolicy>>,
    /// The policy hooks, if there are any.
    pub policy_hooks: Option<Arc<PolicyHooks>>,
    /// The room aliases of other servers; `None` if this server does not federate.
    pub remote_aliases: Option<Arc<dyn RemoteAliases>>,
    /// The maximum size of the rooms in memory, in bytes. It may be exceeded while they are in use. A quarter of it
    /// again is for state events.
    pub cache_bytes: usize,
    /// The types of stripped state, besides `m.room.create`.
    pub stripped_state_types: Vec<PrejoinStateEntry>,
    /// The limits on changes of membership.
    pub limits: MembershipLimits,
    /// The rules about users of this server, besides those of rooms.
    pub sender_rules: SenderRules,
    /// Whether users can filter invites by their sender (`msc4155_enabled`).
    pub invite_filtering: bool,
    /// Whether users forget a room when they leave it or are kicked or banned.
    pub forget_on_leave: bool,
    /// Whether events can be sticky (MSC4354).
    pub sticky_events: bool,
    /// Whether messages can carry their own expiry (MSC2228).
    pub expiring_messages: bool,
    /// The invites that are accepted for users, if any are (`auto_accept_invites`).
    pub accepted_invites: Option<AcceptedInvites>,
}

/// Builds, signs and commits events. A server has one.
pub struct RoomWriter {
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    /// Runs tasks that go on when their request has ended.
    pub(crate) background: Background,
    pub(crate) server_name: ServerName,
    /// The key that this server signs events with.
    pub(crate) signing_key: Arc<SigningKey>,
    pub(crate) policy_servers: Option<Arc<dyn PolicyServers>>,
    /// This server as a policy server, if it is one.
    pub(crate) own_policy: Option<Arc<OwnPolicy>>,
    pub(crate) policy_hooks: Option<Arc<PolicyHooks>>,
    pub(crate) remote_aliases: Option<Arc<dyn RemoteAliases>>,
    /// The numbers of new rooms, events and snapshots.
    pub(crate) nids: Nids,
    pub(crate) persister: Persister,
    pub(crate) transactions: Transactions,
    /// The limits on changes of membership.
    pub(crate) limits: MembershipLimits,
    /// The rules about users of this server, besides those of rooms.
    pub(crate) sender_rules: SenderRules,
    /// Which invites users accept.
    pub(crate) invite_permissions: InvitePermissionReader,
    /// When the last room was created, Unix ms.
    pub(crate) last_creation: AtomicU64,
}

impl RoomWriter {
    /// Starts the persister as a task of the current tokio runtime. The task ends with the writer.
    #[must_use]
    pub fn start(options: RoomsOptions) -> Arc<Self> {
        let RoomsOptions { db, clock, random, background, server_name, signing_key, policy_servers, .. } = options;
        let RoomsOptions { own_policy, remote_aliases, cache_bytes, stripped_state_types, limits, .. } = options;
        let RoomsOptions { invite_filtering, forget_on_leave, sticky_events, .. } = options;
        let RoomsOptions { expiring_messages, accepted_invites, policy_hooks, sender_rules, .. } = options;
        let rooms = Arc::new(Rooms::new(RoomsParts {
            db: db.clone(),
            clock: clock.clone(),
            server_name: server_name.clone(),
            cache_bytes,
            stripped_state_types,
            forget_on_leave,
            sticky_events,
            expiring_messages,
            accepted_invites,
        }));
        Arc::new(Self {
            invite_permissions: InvitePermissionReader::new(db.clone(), server_name.clone(), invite_filtering),
            nids: Nids::new(db.clone()),
            persister: Persister::start(db.clone(), clock.clone(), Arc::clone(&rooms.memory)),
            transactions: Transactions::new(db.clone()),
            last_creation: AtomicU64::new(0),
            rooms,
            db,
            clock,
            random,
            background,
            server_name,
            signing_key,
            policy_servers,
            own_policy,
            policy_hooks,
            remote_aliases,
            limits,
            sender_rules,
        })
    }

    /// Returns the rooms, for readers.
    #[must_use]
    pub fn rooms(&self) -> &Arc<Rooms> {
        &self.rooms
    }

    /// Returns this server's name.
    #[must_use]
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }
    /// Returns this server as a policy server, if it is one.
    #[must_use]
    pub fn own_policy(&self) -> Option<&Arc<OwnPolicy>> {
        self.own_policy.as_ref()
    }

    /// Returns the policy hooks, if there are any.
    #[must_use]
    pub fn policy_hooks(&self) -> Option<&Arc<PolicyHooks>> {
        self.policy_hooks.as_ref()
    }

    /// Returns the limits on changes of membership.
    #[must_use]
    pub fn limits(&self) -> &MembershipLimits {
        &self.limits
    }

    /// Returns the rules about users of this server.
    #[must_use]
    pub fn sender_rules(&self) -> &SenderRules {
        &self.sender_rules
    }

    /// Returns what reads which invites users accept.
    #[must_use]
    pub fn invite_permissions(&self) -> &InvitePermissionReader {
        &self.invite_permissions
    }

    /// Returns the source of numbers for new snapshots.
    #[must_use]
    pub fn nids(&self) -> &Nids {
        &self.nids
    }
}
