//! What a room's writer builds the next event on: the committed room plus what is on its way to the database.

use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::rules::RoomVersion;
use plexus_store::EventNid;
use plexus_store::repo::state_snapshots::SnapshotRef;

use crate::load;
use crate::membership_kind::MembershipKind;
use crate::room::{CurrentState, RoomView};
use crate::state_map::{StateEntry, StateMap};

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
}

impl Head {
    /// The committed room.
    pub fn of(view: &RoomView, epoch: u64) -> Self {
        Self { epoch, tip: view.tip.clone(), current: Arc::clone(&view.current) }
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
    }
}

/// The current state once `entry` (whose event is in memory) has been set.
pub(crate) fn with_state(
    current: &CurrentState,
    entry: Arc<StateEntry>,
    version: RoomVersion,
    server_name: &str,
) -> CurrentState {
    let mut next = current.clone();
    let replaced = next.state.insert(Arc::clone(&entry));
    if &*entry.event_type == "m.room.member" {
        count(&mut next, replaced.as_deref().and_then(|old| old.membership), &entry, server_name);
    } else if entry.state_key.is_empty() {
        match &*entry.event_type {
            "m.room.power_levels" | "m.room.create" => {
                next.power_levels = Arc::new(load::power_levels(version, &next.state));
            }
            "m.room.join_rules" | "m.room.history_visibility" | "m.room.guest_access" => next.derive_settings(),
            _ => {}
        }
    }
    next
}

fn count(current: &mut CurrentState, before: Option<MembershipKind>, entry: &StateEntry, server_name: &str) {
    let is = |kind: Option<MembershipKind>, wanted| u64::from(kind == Some(wanted));
    current.joined_count += is(entry.membership, MembershipKind::Join);
    current.joined_count -= is(before, MembershipKind::Join);
    current.invited_count += is(entry.membership, MembershipKind::Invite);
    current.invited_count -= is(before, MembershipKind::Invite);
    let Ok(user) = UserId::try_from(&*entry.state_key) else { return };
    if user.server_name() != server_name {
        return;
    }
    if entry.membership == Some(MembershipKind::Join) {
        current.local_joined.insert(user.clone(), |other: &UserId| other.cmp(&user));
    } else {
        current.local_joined.remove(|other: &UserId| other.cmp(&user));
    }
}

/// What becomes of the current state's entry for `target` once it has been redacted; `None` when the event is not part of
/// the current state.
pub(crate) fn redacted_entry(current: &CurrentState, target: EventNid, redacted: &Pdu) -> Option<Arc<StateEntry>> {
    let entry = current.state.get(redacted.event_type(), redacted.state_key()?)?;
    (entry.nid == target).then(|| Arc::new(entry.redacted(redacted)))
}
