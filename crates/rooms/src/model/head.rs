//! What a room's writer builds the next event on: the committed room plus what is on its way to the database.

use std::sync::Arc;

use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::rules::RoomVersion;
use plexus_store::EventNid;
use plexus_store::repo::state_snapshots::SnapshotRef;

use crate::model::load;
use crate::model::membership_kind::MembershipKind;
use crate::model::room::{CurrentState, RoomView};
use crate::model::state_map::{StateEntry, StateMap};
use crate::model::timeline_event::TimelineEvent;
use crate::read::timeline::Gaps;

/// A forward extremity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extremity {
    pub nid: EventNid,
    pub event_id: EventId,
}

/// Where the room's graph ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub extremities: Arc<[Extremity]>,
    /// The greatest depth among them.
    pub depth: u64,
    /// The state after them.
    pub snapshot: SnapshotRef,
}

impl Tip {
    /// Before the create event.
    pub fn empty() -> Self {
        Self { extremities: Arc::new([]), depth: 0, snapshot: SnapshotRef::EMPTY }
    }
}

/// The room as the next event sees it.
#[derive(Clone)]
pub(crate) struct Head {
    /// The room's epoch when this head was taken from the committed view.
    pub epoch: u64,
    pub tip: Tip,
    pub current: Arc<CurrentState>,
    /// Whether events that are shown to nobody, and leave the rest as it is, may be on their way to the database.
    pub hidden: bool,
    /// Whether redactions may be on their way to the database, where they and what they redact find each other.
    pub redacting: bool,
}

impl Head {
    /// The committed room.
    pub fn of(view: &RoomView, epoch: u64) -> Self {
        Self { epoch, tip: view.tip.clone(), current: Arc::clone(&view.current), hidden: false, redacting: false }
    }

    /// Whether nothing that it is made of is on its way to the database.
    pub fn is_committed(&self, view: &RoomView) -> bool {
        !self.hidden && self.tip == view.tip && Arc::ptr_eq(&self.current, &view.current)
    }
}

/// A room without any event.
pub(crate) fn empty_view(version: RoomVersion) -> RoomView {
    RoomView {
        position: 0,
        tip: Tip::empty(),
        current: Arc::new(load::current_state(version, StateMap::default(), "")),
        recent: Arc::new([]),
        recent_after: 0,
        merged: 0,
        gaps: Gaps::default(),
        partial: None,
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
    pub fn set(entry: Arc<StateEntry>, replaced: Option<EventNid>) -> Self {
        Self {
            event_type: Arc::clone(&entry.event_type),
            state_key: Arc::clone(&entry.state_key),
            entry: Some(entry),
            replaced,
        }
    }

    /// The membership that changes with it: whose, to what, by which event. Who drops out of the state has left.
    pub fn membership(&self) -> Option<(UserId, MembershipKind, EventNid)> {
        if &*self.event_type != "m.room.member" {
            return None;
        }
        let user = UserId::try_from(&*self.state_key).ok()?;
        match &self.entry {
            Some(entry) => Some((user, entry.membership?, entry.nid)),
            None => Some((user, MembershipKind::Leave, self.replaced?)),
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
                    settings = true
                }
                _ => {}
            }
        }
    }
    if powers {
        next.power_levels = Arc::new(load::power_levels(version, &next.state));
    }
    if settings {
        next.derive_settings();
    }
    next
}

fn count(
    current: &mut CurrentState,
    user: &str,
    before: Option<MembershipKind>,
    after: Option<MembershipKind>,
    server_name: &str,
) {
    let is = |kind: Option<MembershipKind>, wanted| u64::from(kind == Some(wanted));
    current.joined_count += is(after, MembershipKind::Join);
    current.joined_count -= is(before, MembershipKind::Join);
    current.invited_count += is(after, MembershipKind::Invite);
    current.invited_count -= is(before, MembershipKind::Invite);
    let (was_in, is_in) = (before == Some(MembershipKind::Join), after == Some(MembershipKind::Join));
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
