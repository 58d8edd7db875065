//! After the commit: the rooms' views and the memberships move on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use plexus_store::{EventNid, Position};

use super::write::Written;
use super::{Append, Entered, PendingEvent};
use crate::head::StateChange;
use crate::memberships::Membership;
use crate::registry::Shared;
use crate::room::{Room, RoomView};
use crate::timeline_event::TimelineEvent;

/// How many recent events a room keeps in memory.
const RECENT_EVENTS: usize = 64;
/// About how many bytes of memory they may take.
const RECENT_BYTES: usize = 256 * 1024;

/// Takes a committed batch over into memory. Runs on the writer thread.
pub(crate) fn apply(shared: &Shared, appends: &[Arc<Append>], written: Written) {
    let Written { positions, texts, snapshots } = written;
    shared.interner.keep(texts);
    shared.snapshots.keep(snapshots);
    let mut done: Vec<&Arc<Room>> = Vec::new();
    for append in appends {
        if done.iter().any(|room| room.nid == append.room.nid) {
            continue;
        }
        let events: Vec<(&PendingEvent, Option<Position>)> = appends
            .iter()
            .zip(&positions)
            .filter(|(other, _)| other.room.nid == append.room.nid)
            .flat_map(|(other, positions)| other.events.iter().zip(positions.iter().copied()))
            .collect();
        let entered = appends.iter().rev().filter(|other| other.room.nid == append.room.nid);
        apply_to_room(shared, &append.room, &events, entered.filter_map(|other| other.entered.as_ref()).next());
        done.push(&append.room);
        if append.creation.is_some() {
            shared.insert(&append.room);
        } else {
            shared.changed(&append.room);
        }
    }
}

fn apply_to_room(
    shared: &Shared,
    room: &Room,
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
    for &(pending, position) in events {
        let Some(position) = position else { continue };
        let event = Arc::new(timeline_event(pending, position));
        for change in &pending.changes {
            match &change.entry {
                Some(entry) if entry.nid == pending.nid && pending.in_timeline => entry.remember(&event),
                _ => next.merged = position,
            }
            membership(shared, room, change, position);
        }
        if let Some(redaction) = &pending.redacts {
            shared.events.remove(redaction.target);
            let redacted = recent.redact(redaction.target, &event);
            if let Some(entry) = &redaction.entry {
                entry.forget();
                redacted.inspect(|event| entry.remember(event));
            }
        }
        if pending.in_timeline {
            next.position = position;
            recent.events.push(event);
        }
    }
    recent.trim();
    next.recent_after = recent.after;
    next.recent = recent.events.into();
    let is_given_up = next.is_partial() && next.local_joined.is_empty();
    room.set_view(next);
    if is_given_up {
        // Nobody waits for its state any longer.
        room.filled.notify_waiters();
    }
    room.revision.fetch_add(1, Ordering::Release);
}

fn timeline_event(pending: &PendingEvent, position: Position) -> TimelineEvent {
    let event = TimelineEvent {
        nid: pending.nid,
        position,
        pdu: pending.pdu.clone(),
        replaced: pending.replaced.clone().map(Box::new),
        redacted_because: None,
        transaction: pending.transaction.as_ref().map(|(_, transaction)| Box::new(transaction.clone())),
    };
    match &pending.redacted_by {
        Some(because) => event.redacted(Arc::clone(because)),
        None => event,
    }
}

fn membership(shared: &Shared, room: &Room, change: &StateChange, position: Position) {
    if let Some((user, kind, event_nid)) = change.membership() {
        let change = Membership { room: room.nid, kind, position, event_nid, forgotten: false };
        shared.memberships.apply(&user, change);
    }
}

/// The recent events while they are being changed.
struct Recent {
    events: Vec<Arc<TimelineEvent>>,
    after: Position,
}

impl Recent {
    /// Redacts an event and answers it, if it is among them; the first redaction counts.
    fn redact(&mut self, target: EventNid, because: &Arc<TimelineEvent>) -> Option<Arc<TimelineEvent>> {
        let event = self.events.iter_mut().find(|event| event.nid == target)?;
        if event.redacted_because.is_none() {
            *event = Arc::new(event.redacted(Arc::clone(because)));
        }
        Some(Arc::clone(event))
    }

    fn trim(&mut self) {
        let mut bytes = 0;
        let kept = self
            .events
            .iter()
            .rev()
            .take(RECENT_EVENTS)
            .take_while(|event| {
                bytes += event.weight();
                bytes <= RECENT_BYTES
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
