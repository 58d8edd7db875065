//! Decides which events of a room a server's users may see, by the state at each event
//! (<https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>).

use std::collections::HashMap;

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::membership::Membership;
use plexus_protocol::visibility::{HistoryVisibility, StateForUser};
use plexus_rooms::model::room::Room;
use plexus_rooms::model::state_at::snapshot_after_event;
use plexus_rooms::model::stored_events;
use plexus_rooms::read::timeline::is_erased;
use plexus_store::repo::event_graph;
use plexus_store::repo::interned::{find_state_key, find_state_keys, find_type};
use plexus_store::repo::state_snapshots::{Key, Reader};
use plexus_store::{DbError, EventNid, SnapshotNid, Tx};

use super::events::{FoundEvent, parse};

/// Decides which events of a room may be returned to a server. It remembers the states that it has read.
pub(super) struct VisibilityFilter {
    room: std::sync::Arc<Room>,
    server: String,
    reader: Reader,
    /// The keys of the state that visibility depends on, once they are looked up.
    keys: Option<Keys>,
    visibilities: HashMap<EventNid, HistoryVisibility>,
    memberships: HashMap<EventNid, Option<Membership>>,
    states: HashMap<SnapshotNid, StateForUser>,
}

struct Keys {
    visibility: Option<Key>,
    /// The member events of the server's users.
    members: Vec<Key>,
}

impl VisibilityFilter {
    /// Returns the visibility of events of `room` for `server`.
    pub(crate) fn new(room: std::sync::Arc<Room>, server: &ServerName) -> Self {
        Self {
            room,
            server: server.as_str().to_owned(),
            reader: Reader::default(),
            keys: None,
            visibilities: HashMap::new(),
            memberships: HashMap::new(),
            states: HashMap::new(),
        }
    }

    /// Returns the event's JSON. It is redacted if none of the server's users may see it, or if its sender has been
    /// erased and none of them was in the room when it was sent.
    pub(crate) fn json(&mut self, tx: &mut Tx<'_>, event: FoundEvent) -> Result<String, DbError> {
        let is_erased = is_erased(&self.room, event.row.known.event_nid, &event.pdu);
        let visible = self.sees(tx, &event)? && (!is_erased || self.was_joined(tx, &event)?);
        Ok(event.into_json(visible))
    }

    /// Whether one of the server's users was in the room before or after the event.
    fn was_joined(&mut self, tx: &mut Tx<'_>, event: &FoundEvent) -> Result<bool, DbError> {
        let Some(before) = event.row.known.snapshot_nid else { return Ok(false) };
        let behind = snapshot_after_event(&event.row.known).filter(|behind| *behind != before);
        for snapshot in std::iter::once(before).chain(behind) {
            if self.has_member(tx, snapshot, Membership::Join)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the server's users may see the event. Outliers, which are part of auth chains and states, and sticky
    /// events are visible to every server in the room.
    fn sees(&mut self, tx: &mut Tx<'_>, event: &FoundEvent) -> Result<bool, DbError> {
        let Some(before) = event.row.known.snapshot_nid else { return Ok(true) };
        let before_it = self.state_for_server(tx, before)?;
        // The server has a joined member, who joined after events that it was not in the room for.
        if before_it.allows(true) {
            return Ok(true);
        }
        let behind = match snapshot_after_event(&event.row.known) {
            Some(after) if after != before => self.state_for_server(tx, after)?,
            _ => return Ok(self.is_sticky(event)),
        };
        Ok(behind.allows(true) || self.is_sticky(event))
    }

    /// Returns the state that decides what the server's user with the widest view may see.
    fn is_sticky(&self, event: &FoundEvent) -> bool {
        self.room.sticky.contains(self.room.nid, event.row.known.event_nid)
    }

    fn state_for_server(&mut self, tx: &mut Tx<'_>, snapshot: SnapshotNid) -> Result<StateForUser, DbError> {
        if let Some(known) = self.states.get(&snapshot) {
            return Ok(*known);
        }
        let visibility = self.visibility(tx, snapshot)?;
        let membership = match visibility {
            // The membership does not matter.
            HistoryVisibility::WorldReadable | HistoryVisibility::Shared => None,
            HistoryVisibility::Invited | HistoryVisibility::Joined => {
                if self.has_member(tx, snapshot, Membership::Join)? {
                    Some(Membership::Join)
                } else if self.has_member(tx, snapshot, Membership::Invite)? {
                    Some(Membership::Invite)
                } else {
                    None
                }
            }
        };
        let state = StateForUser { visibility, membership };
        self.states.insert(snapshot, state);
        Ok(state)
    }

    fn visibility(&mut self, tx: &mut Tx<'_>, snapshot: SnapshotNid) -> Result<HistoryVisibility, DbError> {
        let Some(key) = self.keys(tx)?.visibility else { return Ok(HistoryVisibility::default()) };
        let Some(event) = self.reader.get(tx, snapshot, key)? else { return Ok(HistoryVisibility::default()) };
        if let Some(known) = self.visibilities.get(&event) {
            return Ok(*known);
        }
        let row = event_graph::by_nids(tx, &[event])?.pop();
        let pdu = row.and_then(|row| plexus_store::readable(parse(&row, self.room.version)));
        let visibility =
            pdu.map_or(stored_events::UNREADABLE_VISIBILITY, |pdu| HistoryVisibility::of(Some(pdu.content())));
        self.visibilities.insert(event, visibility);
        Ok(visibility)
    }

    fn has_member(&mut self, tx: &mut Tx<'_>, snapshot: SnapshotNid, wanted: Membership) -> Result<bool, DbError> {
        let members = self.keys(tx)?.members.clone();
        let mut unknown = Vec::new();
        for key in members {
            let Some(event) = self.reader.get(tx, snapshot, key)? else { continue };
            match self.memberships.get(&event) {
                Some(kind) if *kind == Some(wanted) => return Ok(true),
                Some(_) => {}
                None => unknown.push(event),
            }
        }
        let mut found = false;
        for row in event_graph::by_nids(tx, &unknown)? {
            let kind = plexus_store::readable(parse(&row, self.room.version)).as_ref().and_then(Membership::of);
            found |= kind == Some(wanted);
            self.memberships.insert(row.known.event_nid, kind);
        }
        Ok(found)
    }

    /// Returns the keys. The current state has the member events of all users that ever were members.
    fn keys(&mut self, tx: &mut Tx<'_>) -> Result<&Keys, DbError> {
        if self.keys.is_none() {
            let view = self.room.view();
            let of_server = |key: &str| UserId::try_from(key).is_ok_and(|user| user.server_name() == self.server);
            let entries: Vec<_> =
                view.state.of_type("m.room.member").filter(|entry| of_server(&entry.state_key)).collect();
            self.memberships.extend(entries.iter().map(|entry| (entry.nid, entry.membership)));
            let texts: Vec<Vec<u8>> = entries.iter().map(|entry| entry.state_key.as_bytes().to_vec()).collect();
            let member = find_type(tx, "m.room.member")?;
            let nids = if texts.is_empty() { Vec::new() } else { find_state_keys(tx, &texts)? };
            let members = member.map(|member| nids.into_iter().map(|key| (member, key)).collect());
            let visibility = find_type(tx, "m.room.history_visibility")?.zip(find_state_key(tx, "")?);
            self.keys = Some(Keys { visibility, members: members.unwrap_or_default() });
        }
        // It was set above.
        self.keys.as_ref().ok_or_else(|| DbError::bad_data("state_keys", "not looked up"))
    }
}
