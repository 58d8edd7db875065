//! The state of a room that a client needs beside the timeline.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use plexus_protocol::id::{EventId, UserId};
use plexus_rooms::{Room, RoomView, StateEntry, TimelineEvent, timeline};
use plexus_store::{DbError, EventNid, Position};

use super::context::Context;
use super::timeline::Timeline;

const MEMBER: &str = "m.room.member";
/// At most this many state events are read one by one, and stay in memory.
const MAX_SINGLE_READS: usize = 3;

/// Selects and loads state events of a room.
pub(super) struct StateReader<'s> {
    pub context: &'s Context<'s>,
    pub room: &'s Room,
    pub view: &'s RoomView,
    pub timeline: &'s Timeline,
    /// The members that the summary names.
    pub heroes: &'s [UserId],
    /// The last position that is shown of a room that the user has left.
    pub until: Option<Position>,
}

/// Selected state: events at hand, entries of the current state, and older events by id.
#[derive(Default)]
struct Picked {
    events: Vec<Arc<TimelineEvent>>,
    entries: Vec<Arc<StateEntry>>,
    older: Vec<EventId>,
}

impl<'s> StateReader<'s> {
    /// Returns the whole state: at the start of the timeline, or at its end with `use_state_after`. With lazy loading
    /// only the members that are needed.
    pub(super) async fn full(&self) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let lazy = self.context.filter().lazy_load_members();
        let mut picked = Picked::default();
        for entry in self.view.state.iter() {
            if !(lazy && &*entry.event_type == MEMBER) {
                self.pick(entry, &mut picked);
            }
        }
        if lazy {
            let mut needed = self.timeline_senders();
            needed.insert(self.context.request.user.as_str());
            needed.extend(self.heroes.iter().map(UserId::as_str));
            self.pick_members(needed, &mut picked);
        }
        self.load(picked).await
    }

    /// Returns the state that changed since a position.
    pub(super) async fn changed(&self, since: Position) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let shown: HashSet<EventNid> = self.timeline.events.iter().map(|event| event.nid).collect();
        let mut picked = Picked::default();
        if self.view.was_resolved_since(since) {
            let changed =
                timeline::state_delta(self.room, since, self.until.unwrap_or(self.context.now.position)).await?;
            picked.events.extend(changed.into_iter().filter(|event| !shown.contains(&event.nid)));
        } else if self.timeline.limited {
            picked.events = self.changed_in_gap(since).await?;
        }
        let mut last: BTreeMap<(&str, &str), &Arc<TimelineEvent>> = BTreeMap::new();
        for event in &self.timeline.all {
            if let Some(key) = event.pdu.state_key() {
                last.insert((event.pdu.event_type(), key), event);
            }
        }
        for event in last.into_values() {
            let picked_already = picked.events.iter().any(|other| other.nid == event.nid);
            if (self.context.request.state_after || !shown.contains(&event.nid)) && !picked_already {
                picked.events.push(Arc::clone(event));
            }
        }
        self.mark_sent(&picked.events);
        if self.context.filter().lazy_load_members() {
            self.mark_sent(&self.timeline.events);
            let mut needed = self.timeline_senders();
            needed.extend(self.heroes.iter().map(UserId::as_str));
            match self.until {
                Some(until) => {
                    let users = needed.into_iter().map(str::to_owned).collect();
                    let members = timeline::members_at(self.room, until, users).await?;
                    self.mark_sent(&members);
                    let known: HashSet<EventNid> = picked.events.iter().map(|event| event.nid).collect();
                    let new = |event: &Arc<TimelineEvent>| !known.contains(&event.nid) && !shown.contains(&event.nid);
                    picked.events.extend(members.into_iter().filter(new));
                }
                None => self.pick_members(needed, &mut picked),
            }
        }
        self.load(picked).await
    }

    /// Selects the users' member events that the device does not have.
    fn pick_members(&self, users: BTreeSet<&str>, picked: &mut Picked) {
        for user in users {
            if let Some(entry) = self.view.state.get(MEMBER, user)
                && !picked.events.iter().any(|event| event.nid == entry.nid)
                && self.sends_member(entry)
            {
                self.pick(entry, picked);
            }
        }
    }

    /// Returns the state events of the gap that later ones in it did not replace. The specification wants its members
    /// even with lazy loading, redundant or not.
    async fn changed_in_gap(&self, since: Position) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        timeline::state_delta(self.room, since, self.timeline.start).await
    }

    /// Selects an entry of the current state, or what it replaced if the timeline shows it.
    fn pick(&self, entry: &Arc<StateEntry>, picked: &mut Picked) {
        let shown =
            !self.context.request.state_after && self.timeline.events.iter().any(|event| event.nid == entry.nid);
        if !shown {
            picked.entries.push(Arc::clone(entry));
            return;
        }
        let first = self.timeline.all.iter().find(|event| {
            event.pdu.state_key() == Some(&entry.state_key) && event.pdu.event_type() == &*entry.event_type
        });
        if let Some(replaced) = first.and_then(|event| event.replaced.as_ref()) {
            picked.older.push(replaced.event_id.clone());
        }
    }

    /// Returns the senders of the events that the timeline shows.
    fn timeline_senders(&self) -> BTreeSet<&'s str> {
        self.timeline.events.iter().map(|event| event.pdu.sender().as_str()).collect()
    }

    /// Whether a member event is to be sent because the device does not have it. It counts as sent with this delta.
    fn sends_member(&self, entry: &StateEntry) -> bool {
        let new = self.context.new_members.lock().add(self.room.nid, &entry.state_key, entry.nid);
        new || self.context.filter().room.state.include_redundant_members
    }

    /// Records that the member events among these are sent with this delta.
    fn mark_sent(&self, events: &[Arc<TimelineEvent>]) {
        for event in events.iter().filter(|event| event.pdu.event_type() == MEMBER) {
            if let Some(user) = event.pdu.state_key() {
                self.context.new_members.lock().add(self.room.nid, &user.into(), event.nid);
            }
        }
    }

    /// Returns the state when the user left the room.
    pub(super) async fn at_leave(&self, upto: Position) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let position = if self.context.request.state_after { upto } else { self.timeline.start };
        let events = timeline::state_at(self.room, position).await?;
        self.load(Picked { events, ..Picked::default() }).await
    }

    async fn load(&self, picked: Picked) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let Picked { mut events, entries, older } = picked;
        if entries.len() <= MAX_SINGLE_READS {
            // The room keeps them: the next device that gets a message needs its sender's member event too.
            for entry in &entries {
                events.extend(self.room.readable_state_event(entry).await?);
            }
        } else {
            events.extend(timeline::state_events(self.room, &entries).await?);
        }
        for event_id in older {
            events.extend(timeline::event(self.room, &event_id).await?);
        }
        let filter = &self.context.filter().room.state;
        if !filter.allows_room(self.room.id.as_str()) {
            return Ok(Vec::new());
        }
        events.retain(|event| {
            let pdu = &event.pdu;
            filter.allows(pdu.event_type(), pdu.sender().as_str(), || pdu.content().get("url").is_some())
        });
        timeline::state_for(&self.context.request.user, self.room, events).await
    }
}
