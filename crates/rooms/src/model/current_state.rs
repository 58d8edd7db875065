//! The current state of a room, and what is derived from it.

use std::sync::Arc;

use plexus_protocol::acl::ServerAcl;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::join_rule::JoinRule;
use plexus_protocol::membership::Membership;
use plexus_protocol::policy::PolicyServer;
use plexus_protocol::power_levels::PowerLevels;
use plexus_protocol::rules::RoomVersion;
use plexus_protocol::visibility::HistoryVisibility;
use plexus_store::EventNid;

use crate::model::heroes;
use crate::model::servers::Servers;
use crate::model::sorted::SortedSet;
use crate::model::state_map::{StateEntry, StateMap};
use crate::model::timeline_event::TimelineEvent;

/// The `type` of `m.room.create` that makes a room a space.
pub(crate) const SPACE: &str = "m.space";

/// The current state of a room and what readers ask of it most.
#[derive(Clone)]
pub struct CurrentState {
    /// (event type, state key) to event.
    pub state: StateMap,
    /// Parsed `m.room.power_levels`, or the defaults of a room without.
    pub power_levels: Arc<PowerLevels>,
    /// `m.room.join_rules`.
    pub join_rule: JoinRule,
    /// `m.room.history_visibility`.
    pub history_visibility: HistoryVisibility,
    /// Whether `m.room.guest_access` lets guests join.
    pub guests_can_join: bool,
    /// `m.room.server_acl`, compiled when it is set: it may have thousands of patterns, and is asked about every event.
    pub server_acl: Option<Arc<ServerAcl>>,
    /// Users of this server who are joined.
    pub local_joined: SortedSet<UserId>,
    /// The servers of the joined users.
    pub servers: Servers,
    /// How many users are joined.
    pub joined_count: u64,
    /// How many users are invited.
    pub invited_count: u64,
}

impl CurrentState {
    /// Derives the join rule, history visibility, guest access and server ACL anew.
    pub(crate) fn derive_settings(&mut self) {
        self.join_rule = JoinRule::of(self.event_in_memory("m.room.join_rules", "").map(Pdu::content));
        self.history_visibility =
            HistoryVisibility::of(self.event_in_memory("m.room.history_visibility", "").map(Pdu::content));
        self.guests_can_join = self.content_str("m.room.guest_access", "guest_access") == Some("can_join");
        let acl = self.event_in_memory("m.room.server_acl", "");
        self.server_acl = acl.map(|acl| Arc::new(ServerAcl::from_content(acl.content())));
    }

    /// Whether `server` may take part in the room (client-server API, "Server Access Control Lists").
    #[must_use]
    pub fn allows_server(&self, server: &ServerName) -> bool {
        self.server_acl.as_ref().is_none_or(|acl| acl.allows(server))
    }

    /// The event that set a state, when it is in memory (create, power levels, join rules, name, topic, canonical
    /// alias, avatar, encryption and history visibility always are).
    #[must_use]
    pub fn event_in_memory(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        self.state.get(event_type, state_key)?.pdu()
    }

    /// Whether the room is a space (client-server API, "Spaces").
    #[must_use]
    pub fn is_space(&self) -> bool {
        self.content_str("m.room.create", "type") == Some(SPACE)
    }

    /// The event number of a state.
    #[must_use]
    pub fn event_nid(&self, event_type: &str, state_key: &str) -> Option<EventNid> {
        self.state.get(event_type, state_key).map(|entry| entry.nid)
    }

    /// A string member of a state event's content that is in memory.
    #[must_use]
    pub fn content_str(&self, event_type: &str, member: &str) -> Option<&str> {
        self.event_in_memory(event_type, "")?.content().get(member)?.as_str()
    }

    /// Up to five other members to name the room after: joined and invited, else left; in order of user id.
    #[must_use]
    pub fn heroes(&self, user: &UserId) -> Vec<UserId> {
        heroes::heroes(&self.state, user)
    }

    /// Whether every user can find the room's members: the room is public or world readable, and this server is in it.
    pub(crate) fn shows_members_to_all(&self) -> bool {
        let is_open = self.join_rule == JoinRule::Public || self.history_visibility == HistoryVisibility::WorldReadable;
        is_open && !self.local_joined.is_empty()
    }

    /// The server that has to recommend events of such a kind.
    pub(crate) fn policy_server(&self, event_type: &str, state_key: Option<&str>) -> Option<PolicyServer> {
        let policy =
            self.event_in_memory("m.room.policy", "").filter(|_| PolicyServer::is_about(event_type, state_key))?;
        PolicyServer::of(policy.content()).filter(|server| self.servers.contains(server.via.as_str()))
    }
}

/// What is derived from a state. The events it is derived from are in memory.
pub(crate) fn current_state(version: RoomVersion, state: StateMap, server_name: &str) -> CurrentState {
    let power_levels = power_levels(version, &state);
    let mut local_joined = SortedSet::default();
    let mut servers = Servers::default();
    let (mut joined_count, mut invited_count) = (0, 0);
    for entry in state.of_type("m.room.member") {
        match entry.membership {
            Some(Membership::Join) => {
                joined_count += 1;
                if let Ok(user) = UserId::try_from(&*entry.state_key) {
                    servers.add(user.server_name());
                    if user.server_name() == server_name {
                        local_joined.insert(user.clone(), |other: &UserId| other.cmp(&user));
                    }
                }
            }
            Some(Membership::Invite) => invited_count += 1,
            _ => {}
        }
    }
    let mut current = CurrentState {
        state,
        power_levels: Arc::new(power_levels),
        join_rule: JoinRule::default(),
        history_visibility: HistoryVisibility::default(),
        guests_can_join: false,
        server_acl: None,
        local_joined,
        servers,
        joined_count,
        invited_count,
    };
    current.derive_settings();
    current
}

/// The power levels a state sets.
pub(crate) fn power_levels(version: RoomVersion, state: &StateMap) -> PowerLevels {
    let pdu = |event_type| state.get(event_type, "").and_then(|entry| entry.pdu());
    match pdu("m.room.create") {
        Some(create) => PowerLevels::of_room(create, pdu("m.room.power_levels")),
        None => PowerLevels::new(version.rules(), &[], None),
    }
}

/// One key of the current state that changes.
#[derive(Clone, Debug)]
pub(crate) struct StateChange {
    pub event_type: Arc<str>,
    pub state_key: Arc<str>,
    /// What it becomes, its event in memory; `None`: it goes.
    pub entry: Option<Arc<StateEntry>>,
    /// The event that stood there.
    pub replaced: Option<EventNid>,
}

impl StateChange {
    /// The change that sets `entry`.
    pub(crate) fn set(entry: Arc<StateEntry>, replaced: Option<EventNid>) -> Self {
        Self {
            event_type: Arc::clone(&entry.event_type),
            state_key: Arc::clone(&entry.state_key),
            entry: Some(entry),
            replaced,
        }
    }

    /// The membership that changes with it: whose, to what, by which event. Who drops out of the state has left.
    pub(crate) fn membership(&self) -> Option<(UserId, Membership, EventNid)> {
        if &*self.event_type != "m.room.member" {
            return None;
        }
        let user = UserId::try_from(&*self.state_key).ok()?;
        match &self.entry {
            Some(entry) => Some((user, entry.membership?, entry.nid)),
            None => Some((user, Membership::Leave, self.replaced?)),
        }
    }
}

/// The current state once some keys have changed.
pub(crate) fn with_changes<'a>(
    current: &CurrentState,
    changes: impl IntoIterator<Item = &'a StateChange>,
    version: RoomVersion,
    server_name: &str,
) -> CurrentState {
    let mut next = current.clone();
    let (mut powers, mut settings) = (false, false);
    for change in changes {
        let replaced = match &change.entry {
            Some(entry) => next.state.insert(Arc::clone(entry)),
            None => next.state.remove(&change.event_type, &change.state_key),
        };
        if &*change.event_type == "m.room.member" {
            let before = replaced.as_deref().and_then(|old| old.membership);
            let after = change.entry.as_ref().and_then(|entry| entry.membership);
            count(&mut next, &change.state_key, before, after, server_name);
        } else if change.state_key.is_empty() {
            match &*change.event_type {
                "m.room.power_levels" | "m.room.create" => powers = true,
                "m.room.join_rules" | "m.room.history_visibility" | "m.room.guest_access" | "m.room.server_acl" => {
                    settings = true;
                }
                _ => {}
            }
        }
    }
    if powers {
        next.power_levels = Arc::new(power_levels(version, &next.state));
    }
    if settings {
        next.derive_settings();
    }
    next
}

fn count(
    current: &mut CurrentState,
    user: &str,
    before: Option<Membership>,
    after: Option<Membership>,
    server_name: &str,
) {
    let is = |kind: Option<Membership>, wanted| u64::from(kind == Some(wanted));
    current.joined_count += is(after, Membership::Join);
    current.joined_count -= is(before, Membership::Join);
    current.invited_count += is(after, Membership::Invite);
    current.invited_count -= is(before, Membership::Invite);
    let (was_in, is_in) = (before == Some(Membership::Join), after == Some(Membership::Join));
    let Ok(user) = UserId::try_from(user) else { return };
    if was_in == is_in {
        return;
    }
    let local = user.server_name() == server_name;
    if is_in {
        current.servers.add(user.server_name());
        if local {
            current.local_joined.insert(user.clone(), |other: &UserId| other.cmp(&user));
        }
    } else {
        current.servers.remove(user.server_name());
        if local {
            current.local_joined.remove(|other: &UserId| other.cmp(&user));
        }
    }
}

/// Puts what is left of a redacted event into the current state, if the event is part of that: the new entry. Somebody
/// keeps `left` until it is committed.
pub(crate) fn redact_in_state(
    current: &mut Arc<CurrentState>,
    left: &Arc<TimelineEvent>,
    version: RoomVersion,
    server_name: &str,
) -> Option<Arc<StateEntry>> {
    let entry = current.state.get(left.pdu.event_type(), left.pdu.state_key()?)?;
    let entry = (entry.nid == left.nid).then(|| Arc::new(entry.redacted(left)))?;
    let change = StateChange::set(Arc::clone(&entry), None);
    *current = Arc::new(with_changes(current, [&change], version, server_name));
    Some(entry)
}
