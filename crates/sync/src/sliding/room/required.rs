//! The state events of a room that a client wants and does not have.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_rooms::{Room, RoomView, StateEntry, TimelineEvent, timeline};
use plexus_store::{DbError, EventNid, Position, repo};

use crate::delta::context::Context;
use crate::sliding::connection::{SentRoom, add_members};
use crate::sliding::required_state::RequiredState;

const MEMBER: &str = "m.room.member";

/// The room, and what its client wants and has.
pub(super) struct Wanted<'w> {
    pub context: &'w Context<'w>,
    pub room: &'w Room,
    pub view: &'w RoomView,
    pub required: &'w Arc<RequiredState>,
    /// The required state that the client has; `None`: nothing of the state.
    pub has: Option<&'w Arc<RequiredState>>,
    /// The client has the state as of this position; `None`: nothing of it.
    pub since: Option<Position>,
    /// The current state's changes since then.
    pub changes: &'w [Arc<TimelineEvent>],
    /// The events that the response shows.
    pub shown: &'w [Arc<TimelineEvent>],
    /// Whether events before these are missing.
    pub limited: bool,
}

impl Wanted<'_> {
    /// Returns the state events to send, and notes the members among them in `sent`.
    pub(super) async fn events(&self, sent: &mut SentRoom) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let Self { room, view, required, .. } = self;
        let wants = |event: &TimelineEvent| required.wants(event.pdu.event_type(), key(event));
        let mut events: Vec<Arc<TimelineEvent>> = self.changes.iter().filter(|event| wants(event)).cloned().collect();
        let mut entries: Vec<&Arc<StateEntry>> = match self.has {
            None => required.select(&view.state),
            Some(has) if required.is_within(has) => Vec::new(),
            Some(has) => {
                let mut entries = required.select(&view.state);
                entries.retain(|entry| !has.wants(&entry.event_type, &entry.state_key));
                entries
            }
        };
        if required.lazy_members {
            let mut members = Vec::new();
            if self.since.is_some() && !self.limited {
                let changed = self.changes.iter().filter(|event| event.pdu.event_type() == MEMBER && !wants(event));
                let before = events.len();
                events.extend(changed.cloned());
                members.extend(events.iter().skip(before).map(|event| event.nid));
            }
            for entry in self.timeline_members().into_iter().filter(|entry| !sent.has_member(entry.nid)) {
                members.push(entry.nid);
                entries.push(entry);
            }
            add_members(sent, members);
        }
        let known: BTreeSet<EventNid> = events.iter().map(|event| event.nid).collect();
        entries.retain(|entry| !known.contains(&entry.nid));
        entries.sort_unstable_by_key(|entry| entry.nid);
        entries.dedup_by_key(|entry| entry.nid);
        let entries: Vec<Arc<StateEntry>> = entries.into_iter().cloned().collect();
        events.extend(timeline::state_events(room, &entries).await?);
        timeline::state_for(&self.context.request.user, room, events).await
    }

    /// Whether state may have been removed or replaced by state resolution since.
    fn was_resolved(&self) -> bool {
        self.since.is_some_and(|since| may_have_lost_state(self.view, since))
    }

    /// Returns type and state key of the wanted state that was removed at or before `upto`, as state resolution may do.
    pub(super) async fn removed(&self, upto: Position) -> Result<Vec<(String, String)>, DbError> {
        let Some(since) = self.since.filter(|_| self.was_resolved()) else { return Ok(Vec::new()) };
        let nid = self.room.nid;
        let mut removed = self.room.db.read(move |tx| repo::current_state::removed(tx, nid, since, upto)).await?;
        let wants = |event_type: &str, key: &str| {
            self.required.wants(event_type, key) || (self.required.lazy_members && event_type == MEMBER)
        };
        removed.retain(|(event_type, key)| wants(event_type, key));
        Ok(removed)
    }

    /// Returns the required state that the client has when it has been sent these events.
    pub(super) fn has_then(&self) -> Arc<RequiredState> {
        let Some(has) = self.has else { return Arc::clone(self.required) };
        // Changes of what is not wanted any more are not sent: it is sent as a whole when it is wanted again.
        let outdated = |event: &Arc<TimelineEvent>| {
            let (event_type, key) = (event.pdu.event_type(), key(event));
            has.wants(event_type, key) && !self.required.wants(event_type, key)
        };
        if self.was_resolved() || self.changes.iter().any(outdated) {
            Arc::clone(self.required)
        } else if self.required.is_within(has) {
            Arc::clone(has)
        } else {
            Arc::new(self.required.and_sent_before(has))
        }
    }

    /// Returns the entries of the members that the shown events are from or about, except those that are sent anyway.
    fn timeline_members(&self) -> Vec<&Arc<StateEntry>> {
        let about = |event: &'_ Arc<TimelineEvent>| {
            let target = event.pdu.state_key().filter(|_| event.pdu.event_type() == MEMBER);
            [Some(event.pdu.sender().as_str().to_owned()), target.map(str::to_owned)]
        };
        let users: BTreeSet<String> = self.shown.iter().flat_map(about).flatten().collect();
        let users = users.iter().filter(|user| !self.required.wants(MEMBER, user));
        users.filter_map(|user| self.view.state.get(MEMBER, user)).collect()
    }
}

/// Whether state may have been removed or replaced by state resolution since a position. Of what happened before the
/// events in memory that is not known.
pub(super) fn may_have_lost_state(view: &RoomView, since: Position) -> bool {
    since < view.recent_after || view.was_resolved_since(since)
}

fn key(event: &TimelineEvent) -> &str {
    event.pdu.state_key().unwrap_or_default()
}
