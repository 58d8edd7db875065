//! The state of a room in an answer: what a client needs beside the timeline.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use plexus_protocol::id::{EventId, UserId};
use plexus_rooms::{Room, RoomView, StateEntry, TimelineEvent, timeline};
use plexus_store::{DbError, EventNid, Position};

use super::build::Build;
use super::timeline::Timeline;

const MEMBER: &str = "m.room.member";
/// So few state events are read one by one, and stay in memory.
const FEW: usize = 3;

/// A room whose state is being picked.
pub(super) struct StateOf<'s> {
    pub room: &'s Room,
    pub view: &'s RoomView,
    pub timeline: &'s Timeline,
    /// Members that the summary names.
    pub heroes: &'s [UserId],
    /// The last position that is told of a room that the user has left.
    pub until: Option<Position>,
}

/// What has been picked: events at hand, entries of the current state, and older events by id.
#[derive(Default)]
struct Picked {
    events: Vec<Arc<TimelineEvent>>,
    entries: Vec<Arc<StateEntry>>,
    older: Vec<EventId>,
}

impl Build<'_> {
    /// The whole state: at the start of the timeline, or at its end with `use_state_after`. With lazy loading only the
    /// members that are needed.
    pub(super) async fn full_state(&self, of: &StateOf<'_>) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let lazy = self.filter().lazy_load_members();
        let mut picked = Picked::default();
        for entry in of.view.state.iter() {
            if !(lazy && &*entry.event_type == MEMBER) {
                self.pick(of, entry, &mut picked);
            }
        }
        if lazy {
            let mut needed = self.needed_members(of);
            needed.insert(self.request.user.as_str());
            needed.extend(of.heroes.iter().map(UserId::as_str));
            self.pick_members(of, needed, &mut picked);
        }
        self.load(of, picked).await
    }

    /// What changed of the state since a position. `gap`: events between that position and the timeline are not shown.
    pub(super) async fn changed_state(
        &self,
        of: &StateOf<'_>,
        since: Position,
    ) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let shown: HashSet<EventNid> = of.timeline.events.iter().map(|event| event.nid).collect();
        let mut picked = Picked::default();
        if of.view.merged_since(since) {
            let changed = timeline::state_delta(of.room, since, of.until.unwrap_or(self.now.position)).await?;
            picked.events.extend(changed.into_iter().filter(|event| !shown.contains(&event.nid)));
        } else if of.timeline.limited {
            picked.events = self.changed_in_gap(of, since).await?;
        }
        let mut last: BTreeMap<(&str, &str), &Arc<TimelineEvent>> = BTreeMap::new();
        for event in &of.timeline.all {
            if let Some(key) = event.pdu.state_key() {
                last.insert((event.pdu.event_type(), key), event);
            }
        }
        for event in last.into_values() {
            let picked_already = picked.events.iter().any(|other| other.nid == event.nid);
            if (self.request.state_after || !shown.contains(&event.nid)) && !picked_already {
                picked.events.push(Arc::clone(event));
            }
        }
        self.note_members(of, &picked.events);
        if self.filter().lazy_load_members() {
            self.note_members(of, &of.timeline.events);
            let mut needed = self.needed_members(of);
            needed.extend(of.heroes.iter().map(UserId::as_str));
            match of.until {
                Some(until) => {
                    let users = needed.into_iter().map(str::to_owned).collect();
                    let members = timeline::members_at(of.room, until, users).await?;
                    self.note_members(of, &members);
                    let known: HashSet<EventNid> = picked.events.iter().map(|event| event.nid).collect();
                    let new = |event: &Arc<TimelineEvent>| !known.contains(&event.nid) && !shown.contains(&event.nid);
                    picked.events.extend(members.into_iter().filter(new));
                }
                None => self.pick_members(of, needed, &mut picked),
            }
        }
        self.load(of, picked).await
    }

    /// Takes the users' member events that the device does not have.
    fn pick_members(&self, of: &StateOf<'_>, users: BTreeSet<&str>, picked: &mut Picked) {
        for user in users {
            if let Some(entry) = of.view.state.get(MEMBER, user)
                && !picked.events.iter().any(|event| event.nid == entry.nid)
                && self.sends_member(of.room, entry)
            {
                self.pick(of, entry, picked);
            }
        }
    }

    /// The state events of the gap that later ones in it did not replace. The specification asks for its members also with
    /// lazy loading, redundant or not.
    async fn changed_in_gap(&self, of: &StateOf<'_>, since: Position) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        timeline::state_delta(of.room, since, of.timeline.start).await
    }

    /// Takes an entry of the current state, or what stood there before the timeline when the timeline shows it itself.
    fn pick(&self, of: &StateOf<'_>, entry: &Arc<StateEntry>, picked: &mut Picked) {
        let shown = !self.request.state_after && of.timeline.events.iter().any(|event| event.nid == entry.nid);
        if !shown {
            picked.entries.push(Arc::clone(entry));
            return;
        }
        let first = of.timeline.all.iter().find(|event| {
            event.pdu.state_key() == Some(&entry.state_key) && event.pdu.event_type() == &*entry.event_type
        });
        if let Some(replaced) = first.and_then(|event| event.replaced.as_ref()) {
            picked.older.push(replaced.event_id.clone());
        }
    }

    /// The senders of what the timeline shows.
    fn needed_members<'o>(&self, of: &StateOf<'o>) -> BTreeSet<&'o str> {
        of.timeline.events.iter().map(|event| event.pdu.sender().as_str()).collect()
    }

    /// Whether a member event is to be sent because the device does not have it; it has it from now on.
    fn sends_member(&self, room: &Room, entry: &StateEntry) -> bool {
        let new = self.sent.send(room.nid, &entry.state_key, entry.nid);
        new || self.filter().room.state.include_redundant_members
    }

    fn note_members(&self, of: &StateOf<'_>, events: &[Arc<TimelineEvent>]) {
        for event in events.iter().filter(|event| event.pdu.event_type() == MEMBER) {
            if let Some(user) = event.pdu.state_key() {
                self.sent.send(of.room.nid, &user.into(), event.nid);
            }
        }
    }

    /// The state when the user left a room.
    pub(super) async fn state_at_leave(
        &self,
        of: &StateOf<'_>,
        upto: Position,
    ) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let position = if self.request.state_after { upto } else { of.timeline.start };
        let events = timeline::state_at(of.room, position).await?;
        self.load(of, Picked { events, ..Picked::default() }).await
    }

    async fn load(&self, of: &StateOf<'_>, picked: Picked) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let Picked { mut events, entries, older } = picked;
        if entries.len() <= FEW {
            // Remembered by the room: the next device to be told of a message needs its sender's member event too.
            for entry in &entries {
                events.extend(of.room.readable_state_event(entry).await?);
            }
        } else {
            events.extend(timeline::state_events(of.room, &entries).await?);
        }
        for event_id in older {
            events.extend(timeline::event(of.room, &event_id).await?);
        }
        let filter = &self.filter().room.state;
        if !filter.allows_room(of.room.id.as_str()) {
            return Ok(Vec::new());
        }
        events.retain(|event| {
            let pdu = &event.pdu;
            filter.allows(pdu.event_type(), pdu.sender().as_str(), || pdu.content().get("url").is_some())
        });
        timeline::state_for(&self.request.user, of.room, events).await
    }
}
