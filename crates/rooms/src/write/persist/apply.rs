//! Updates rooms in memory after a commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use plexus_store::{Position, RoomNid};

use super::write::leaves_guests_behind;
use crate::model::current_state::{CurrentState, StateChange};
use crate::model::engine_memory::EngineMemory;
use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::state_map::StateEntry;
use crate::model::timeline_event::{AppliedRedaction, TimelineEvent};
use crate::write::draft::RedactionTarget;
use crate::write::pending::{Append, Entered, PendingEvent};
use crate::write::redactions::PendingRedaction;

/// The maximum number of recent events of a room in memory.
const MAX_RECENT_EVENTS: usize = 64;
/// Their maximum size, in bytes.
const MAX_RECENT_BYTES: usize = 256 * 1024;

/// A batch of events that is committed.
pub(crate) struct AppendedBatch {
    pub appends: Vec<Arc<Append>>,
    /// The positions of the events of each append.
    pub positions: Vec<Vec<Option<Position>>>,
}

impl AppendedBatch {
    /// Whether this engine has written them.
    pub(crate) fn is_of(&self, memory: &EngineMemory) -> bool {
        self.appends.first().is_some_and(|append| memory.rooms.owns(&append.room))
    }

    /// Takes one of the rooms in memory to a revision. Runs on the writer thread.
    pub(crate) fn apply(&self, memory: &EngineMemory, nid: RoomNid, revision: i64) {
        let mut events: Vec<(&PendingEvent, Option<Position>)> = Vec::new();
        let (mut room, mut entered, mut is_new) = (None, None, false);
        let mut was_given_up = false;
        for (append, positions) in self.appends.iter().zip(&self.positions) {
            if append.room.nid == nid {
                was_given_up |= append.epoch != append.room.epoch.load(Ordering::Acquire);
                room = Some(&append.room);
                entered = append.entered.as_ref().or(entered);
                is_new |= append.creation.is_some();
                events.extend(append.events.iter().zip(positions.iter().copied()));
            }
        }
        let Some(room) = room else { return };
        apply_to_room(memory, room, revision, &events, entered);
        if was_given_up {
            // Its commit was in doubt, and other events have been built without it since: they are stale.
            room.epoch.fetch_add(1, Ordering::Release);
        }
        let other = if is_new {
            Some(memory.rooms.insert(room)).filter(|registered| !Arc::ptr_eq(registered, room))
        } else {
            memory.rooms.advanced(room, revision)
        };
        if let Some(other) = other {
            // Events that were built on it are void: they do not follow these events, whose revision it is given now.
            other.epoch.fetch_add(1, Ordering::Release);
            apply_to_room(memory, &other, revision, &events, entered);
            memory.rooms.advanced(&other, revision);
        }
        let is_member = |redaction: &PendingRedaction| redaction.target.redacted.event_type() == "m.room.member";
        if events.iter().filter_map(|(event, _)| event.redacts.as_ref()).any(is_member) {
            memory.directory.record_change();
        }
    }
}

fn apply_to_room(
    memory: &EngineMemory,
    room: &Room,
    revision: i64,
    events: &[(&PendingEvent, Option<Position>)],
    entered: Option<&Entered>,
) {
    let Some(&(last, _)) = events.last() else { return };
    let view = room.view();
    let mut next = RoomView { tip: last.tip.clone(), current: Arc::clone(&last.current), ..RoomView::clone(&view) };
    if let Some(entered) = entered {
        next.partial = entered.partial.clone();
    }
    let mut recent = Recent { events: view.recent.to_vec(), after: view.recent_after };
    let changes_others = forget_redacted(memory, room, events.iter().map(|(pending, _)| *pending));
    let as_of = room.redactions();
    for &(pending, position) in events {
        let Some(position) = position else { continue };
        let mut event = timeline_event(pending, position);
        let sticky = pending.pdu.sticky_duration_ms().and_then(|_| memory.sticky.find(room.nid, pending.nid));
        event.sticky_until_ms = sticky.map(|sticky| sticky.expires_ts);
        let mut event = Arc::new(event);
        if let Some(redaction) = &pending.redacts {
            let RedactionTarget { nid: target, redacted, .. } = &redaction.target;
            let redaction = AppliedRedaction { target: *target, redacted, because: &event };
            recent.redact(&redaction);
            // A state event may have replaced the event that it redacts.
            if let Some(after) = event.after(&redaction) {
                event = Arc::new(after);
            }
        }
        for change in &pending.changes {
            match &change.entry {
                Some(entry) if entry.nid == pending.nid && pending.in_timeline => entry.remember(&event, as_of),
                _ => next.resolved = position,
            }
        }
        if let Some(gap) = pending.opened_gap(position) {
            recent.events.clear();
            recent.after = position - 1;
            next.gaps = next.gaps.with(gap);
        }
        if pending.in_timeline {
            next.position = position;
            recent.events.push(event);
        }
    }
    if changes_others {
        // As the last of the redactions leaves them.
        let entries = events.iter().flat_map(|(pending, _)| {
            let changed = pending.changes.iter().filter_map(|change| change.entry.as_ref());
            changed.chain(pending.redacts.iter().filter_map(|redaction| redaction.entry.as_ref()))
        });
        entries.for_each(|entry| recent.remembered_by(entry, as_of));
    }
    recent.trim();
    next.recent_after = recent.after;
    next.recent = recent.events.into();
    let is_given_up = next.is_partial() && next.local_joined.is_empty();
    let pending = events.iter().map(|(pending, _)| *pending);
    let guests_have_to_leave = leaves_guests_behind(&view, &next.current, pending, &memory.server_name);
    room.advance(revision, || next);
    if guests_have_to_leave {
        memory.guest_access_ended.notify_one();
    }
    if is_given_up {
        // The state is not needed any longer.
        room.state_completed.notify_waiters();
    }
}

/// Removes events that are redacted, and events that show parts of them, from memory. Returns whether other events may
/// show parts of them. Done before entries remember events again.
fn forget_redacted<'a>(memory: &EngineMemory, room: &Room, events: impl Iterator<Item = &'a PendingEvent>) -> bool {
    let mut shown_by_others = false;
    for pending in events {
        if let Some(RedactionTarget { nid, redacted, .. }) = pending.redacts.as_ref().map(|redaction| &redaction.target)
        {
            memory.events.remove(*nid);
            shown_by_others |= TimelineEvent::is_shown_by_others(redacted);
        }
        if pending.redacted_by.is_some() {
            memory.events.remove(pending.nid);
            shown_by_others |= TimelineEvent::is_shown_by_others(&pending.pdu);
        }
    }
    if shown_by_others {
        room.note_redaction();
    }
    shown_by_others
}

/// Applies redactions that are not part of an [`Append`]. `current` is the current state after them.
pub(crate) fn apply_redactions<'a>(
    memory: &EngineMemory,
    room: &Room,
    revision: i64,
    current: &Arc<CurrentState>,
    redactions: impl Iterator<Item = AppliedRedaction<'a>>,
) {
    let view = room.view();
    let mut recent = Recent { events: view.recent.to_vec(), after: view.recent_after };
    room.note_redaction();
    for redaction in redactions {
        memory.events.remove(redaction.target);
        recent.redact(&redaction);
    }
    let guest_access_ended = view.guests_can_join && !current.guests_can_join;
    let current = Arc::clone(current);
    room.advance(revision, || RoomView { current, recent: recent.events.into(), ..RoomView::clone(&view) });
    if guest_access_ended {
        memory.guest_access_ended.notify_one();
    }
}

fn timeline_event(pending: &PendingEvent, position: Position) -> TimelineEvent {
    let own = |change: &&StateChange| change.entry.as_ref().is_some_and(|entry| entry.nid == pending.nid);
    let has_replaced = pending.changes.iter().find(own).is_some_and(|change| change.replaced.is_some());
    let transaction = pending.transaction.as_ref().map(|(_, transaction)| Box::new(transaction.clone()));
    let replaced = pending.replaced.clone().map(Box::new);
    let mut event = TimelineEvent::new(pending.nid, position, pending.pdu.clone(), replaced, transaction);
    event.replaced_unreadable = has_replaced && event.replaced.is_none();
    match &pending.redacted_by {
        Some(because) => event.redacted(because),
        None => event,
    }
}

/// The recent events while they are being changed.
struct Recent {
    events: Vec<Arc<TimelineEvent>>,
    after: Position,
}

impl Recent {
    /// Redacts an event, and the parts of it that others show.
    fn redact(&mut self, redaction: &AppliedRedaction<'_>) {
        for event in &mut self.events {
            if let Some(after) = event.after(redaction) {
                *event = Arc::new(after);
            }
        }
    }

    /// Has a state entry remember its event, if that is recent.
    fn remembered_by(&self, entry: &StateEntry, as_of: u64) {
        if let Some(event) = self.events.iter().find(|event| event.nid == entry.nid) {
            entry.remember(event, as_of);
        }
    }

    fn trim(&mut self) {
        let mut bytes = 0;
        let kept = self
            .events
            .iter()
            .rev()
            .take(MAX_RECENT_EVENTS)
            .take_while(|event| {
                bytes += event.weight();
                bytes <= MAX_RECENT_BYTES
            })
            .count()
            .max(1);
        let kept = kept.min(self.events.len());
        let dropped = self.events.len().saturating_sub(kept);
        if let Some(last_dropped) = dropped.checked_sub(1).and_then(|at| self.events.get(at)) {
            self.after = last_dropped.position;
        }
        self.events.drain(..dropped);
    }
}
