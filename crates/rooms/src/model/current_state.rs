//! The current state of a room, and values derived from it.

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

/// The current state of a room, and values derived from it.
#[derive(Clone)]
pub struct CurrentState {
    /// The state events, by event type and state key.
    pub state: StateMap,
    /// `m.room.power_levels`, or its defaults.
    pub power_levels: Arc<PowerLevels>,
    /// `m.room.join_rules`.
    pub join_rule: JoinRule,
    /// `m.room.history_visibility`.
    pub history_visibility: HistoryVisibility,
    /// Whether `m.room.guest_access` lets guests join.
    pub guests_can_join: bool,
    /// `m.room.server_acl`, compiled: it may have thousands of patterns, and every event is checked by it.
    pub server_acl: Option<Arc<ServerAcl>>,
    /// The joined users of this server.
    pub local_joined: SortedSet<UserId>,
    /// The servers of all joined users.
    pub servers: Servers,
    /// The number of joined users.
    pub joined_count: u64,
    /// The number of invited users.
    pub invited_count: u64,
}

impl CurrentState {
    /// Derives the join rule, history visibility, guest access and server ACL again.
    pub(crate) fn derive_settings(&mut self) {
        self.join_rule = JoinRule::of(self.event_in_memory("m.room.join_rules", "").map(Pdu::content));
        self.history_visibility =
            HistoryVisibility::of(self.event_in_memory("m.room.history_visibility", "").map(Pdu::content));
        self.guests_can_join = self.content_str("m.room.guest_access", "guest_access") == Some("can_join");
        let acl = self.event_in_memory("m.room.server_acl", "");
        self.server_acl = acl.map(|acl| Arc::new(ServerAcl::from_content(acl.content())));
    }

    /// Whether `server` may take part in the room
    /// (<https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms>).
    #[must_use]
    pub fn allows_server(&self, server: &ServerName) -> bool {
        self.server_acl.as_ref().is_none_or(|acl| acl.allows(server))
    }

    /// Returns the event of a state, if it is in memory. Create, power levels, join rules, name, topic, canonical
    /// alias, avatar, encryption and history visibility always are.
    #[must_use]
    pub fn event_in_memory(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        self.state.get(event_type, state_key)?.pdu()
    }

    /// Whether the room is a space (<https://spec.matrix.org/v1.19/client-server-api/#spaces>).
    #[must_use]
    pub fn is_space(&self) -> bool {
        self.content_str("m.room.create", "type") == Some(SPACE)
    }

    /// Returns the number of the event that sets a state.
    #[must_use]
    pub fn event_nid(&self, event_type: &str, state_key: &str) -> Option<EventNid> {
        self.state.get(event_type, state_key).map(|entry| entry.nid)
    }

    /// Returns a string of a state event's content, if the event is in memory.
    #[must_use]
    pub fn content_str(&self, event_type: &str, member: &str) -> Option<&str> {
        self.event_in_memory(event_type, "")?.content().get(member)?.as_str()
    }

    /// Returns the heroes of the room for a user: see [`heroes::heroes`].
    #[must_use]
    pub fn heroes(&self, user: &UserId) -> Vec<UserId> {
        heroes::heroes(&self.state, user)
    }

    /// Whether every user can find the room's members: the room is public or world readable, and this server is in it.
    pub(crate) fn shows_members_to_all(&self) -> bool {
        let is_open = self.join_rule == JoinRule::Public || self.history_visibility == HistoryVisibility::WorldReadable;
        is_open && !self.local_joined.is_empty()
    }

    /// Returns the policy server that has to sign events of this type and state key.
    pub(crate) fn policy_server(&self, event_type: &str, state_key: Option<&str>) -> Option<PolicyServer> {
        let policy =
            self.event_in_memory("m.room.policy", "").filter(|_| PolicyServer::is_about(event_type, state_key))?;
        PolicyServer::of(policy.content()).filter(|server| self.servers.contains(server.via.as_str()))
    }
}

/// Returns a state with the values derived from it. The events that they are derived from are in memory.
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

/// Returns the power levels of a state.
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
    /// The new entry, with its event in memory; `None` if the state is removed.
    pub entry: Option<Arc<StateEntry>>,
    /// The event of the entry that is replaced.
    pub replaced: Option<EventNid>,
}

impl StateChange {
    /// Returns the change that sets `entry`.
    pub(crate) fn set(entry: Arc<StateEntry>, replaced: Option<EventNid>) -> Self {
        Self {
            event_type: Arc::clone(&entry.event_type),
            state_key: Arc::clone(&entry.state_key),
            entry: Some(entry),
            replaced,
        }
    }

    /// Returns the user whose membership changes, the new membership, and the event that sets it. A user whose member
    /// event is removed from the state has left.
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

/// Returns the current state after some changes.
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
            update_counts(&mut next, &change.state_key, before, after, server_name);
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

fn update_counts(
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

/// Replaces an event of the current state by what a redaction leaves of it. Returns the new entry; `None` if the event
/// is not in the current state. The caller keeps `redacted` until the redaction is committed.
pub(crate) fn redact_in_state(
    current: &mut Arc<CurrentState>,
    redacted: &Arc<TimelineEvent>,
    version: RoomVersion,
    server_name: &str,
) -> Option<Arc<StateEntry>> {
    let entry = current.state.get(redacted.pdu.event_type(), redacted.pdu.state_key()?)?;
    let entry = (entry.nid == redacted.nid).then(|| Arc::new(entry.redacted(redacted)))?;
    let change = StateChange::set(Arc::clone(&entry), None);
    *current = Arc::new(with_changes(current, [&change], version, server_name));
    Some(entry)
}
