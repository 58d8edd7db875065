//! The states stored with backfilled events: events from before this server joined a room, or from while it was away.
//! The history of the current state says nothing about them.

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_protocol::visibility::{HistoryVisibility, StateForUser};
use plexus_store::repo::event_graph;
use plexus_store::repo::interned::{find_state_key, find_type};
use plexus_store::repo::state_snapshots::{Key, Reader};
use plexus_store::{DbError, EventNid, SnapshotNid, Tx};

use super::history::EventPosition;
use crate::model::room::Room;
use crate::model::state_at::snapshot_after_event;
use crate::model::stored_events;
use crate::model::timeline_event::TimelineEvent;

/// The states before and after each event.
pub(super) type StatesAround = HashMap<EventNid, [StateForUser; 2]>;

/// Reads the states around the backfilled ones of `events`.
pub(super) async fn read(room: &Room, user: &UserId, events: &[EventPosition]) -> Result<StatesAround, DbError> {
    let view = room.view();
    // A backfilled event that is just being written has no position yet.
    let is_backfilled = |event: &&EventPosition| event.position <= 0 || view.gaps.covers(event.position);
    let nids: Vec<EventNid> = events.iter().filter(is_backfilled).map(|event| event.nid).collect();
    if nids.is_empty() {
        return Ok(StatesAround::new());
    }
    let (version, user) = (room.version, user.clone());
    room.db
        .read(move |tx| {
            let empty = find_state_key(tx, "")?;
            let keys = Keys {
                visibility: find_type(tx, "m.room.history_visibility")?.zip(empty),
                membership: find_type(tx, "m.room.member")?.zip(find_state_key(tx, user.as_str())?),
            };
            let mut reader = Reader::default();
            let mut sides = Vec::with_capacity(nids.len());
            for row in event_graph::by_nids(tx, &nids)? {
                let Some(before) = row.known.snapshot_nid else { continue };
                let after = snapshot_after_event(&row.known).unwrap_or(before);
                let before = keys.events_in(tx, &mut reader, before)?;
                sides.push((row.known.event_nid, [before, keys.events_in(tx, &mut reader, after)?]));
            }
            let mut named: Vec<EventNid> =
                sides.iter().flat_map(|(_, sides)| sides).flatten().flatten().copied().collect();
            named.sort_unstable();
            named.dedup();
            let read = stored_events::by_nids(tx, version, &named)?;
            let events: HashMap<EventNid, Arc<TimelineEvent>> =
                read.into_iter().map(|event| (event.nid, event)).collect();
            let state = |[visibility, membership]: [Option<EventNid>; 2]| state(&events, visibility, membership);
            Ok(sides.into_iter().map(|(nid, sides)| (nid, sides.map(state))).collect())
        })
        .await
}

fn state(
    events: &HashMap<EventNid, Arc<TimelineEvent>>,
    visibility: Option<EventNid>,
    membership: Option<EventNid>,
) -> StateForUser {
    let pdu = |nid: Option<EventNid>| nid.and_then(|nid| events.get(&nid)).map(|event| &event.pdu);
    let membership = pdu(membership).and_then(Membership::of);
    let visibility = match (visibility, pdu(visibility)) {
        (Some(_), None) => stored_events::UNREADABLE_VISIBILITY,
        (_, pdu) => HistoryVisibility::of(pdu.map(Pdu::content)),
    };
    StateForUser { visibility, membership }
}

struct Keys {
    visibility: Option<Key>,
    membership: Option<Key>,
}

impl Keys {
    /// Returns the events of a state that set the history visibility and the membership.
    fn events_in(
        &self,
        tx: &mut Tx<'_>,
        reader: &mut Reader,
        snapshot: SnapshotNid,
    ) -> Result<[Option<EventNid>; 2], DbError> {
        let mut get = |key: Option<Key>| match key {
            Some(key) => reader.get(tx, snapshot, key),
            None => Ok(None),
        };
        Ok([get(self.visibility)?, get(self.membership)?])
    }
}
