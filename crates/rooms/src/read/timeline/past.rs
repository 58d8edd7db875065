//! What held at events that were fetched later, from before this server came into a room or from while it was away: the
//! state that was stored with each.

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

use super::visibility::Place;
use crate::model::room::Room;
use crate::model::state_at::snapshot_behind;
use crate::model::stored_events;
use crate::model::timeline_event::TimelineEvent;

/// What decides about the user, before and behind each event.
pub(super) type Moments = HashMap<EventNid, [StateForUser; 2]>;

/// Reads it for those of the events that were fetched later.
pub(super) async fn moments(room: &Room, user: &UserId, places: &[Place]) -> Result<Moments, DbError> {
    // One that is fetched right now has no position yet.
    let view = room.view();
    let was_fetched = |place: &&Place| place.position <= 0 || view.gaps.covers(place.position);
    let nids: Vec<EventNid> = places.iter().filter(was_fetched).map(|place| place.nid).collect();
    if nids.is_empty() {
        return Ok(Moments::new());
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
                let behind = snapshot_behind(&row.known).unwrap_or(before);
                let before = keys.at(tx, &mut reader, before)?;
                sides.push((row.known.event_nid, [before, keys.at(tx, &mut reader, behind)?]));
            }
            let mut named: Vec<EventNid> =
                sides.iter().flat_map(|(_, sides)| sides).flatten().flatten().copied().collect();
            named.sort_unstable();
            named.dedup();
            let told = stored_events::by_nids(tx, version, &named)?;
            let told: HashMap<EventNid, Arc<TimelineEvent>> =
                told.into_iter().map(|event| (event.nid, event)).collect();
            let moment = |[visibility, membership]: [Option<EventNid>; 2]| moment(&told, visibility, membership);
            Ok(sides.into_iter().map(|(nid, sides)| (nid, sides.map(moment))).collect())
        })
        .await
}

fn moment(
    told: &HashMap<EventNid, Arc<TimelineEvent>>,
    visibility: Option<EventNid>,
    membership: Option<EventNid>,
) -> StateForUser {
    let pdu = |nid: Option<EventNid>| nid.and_then(|nid| told.get(&nid)).map(|event| &event.pdu);
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
    /// The events in a state that set the history visibility and the membership.
    fn at(
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
