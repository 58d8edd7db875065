//! Fetches missing events before received ones.

use std::collections::HashSet;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_rooms::model::room::Room;
use plexus_rooms::write::graph::GapRef;
use plexus_rooms::write::outliers;
use plexus_store::repo::timeline_gaps::START;
use plexus_store::{Database, DbError, EventNid, Position, repo};

use super::state_fetch_limits::max_states_per_batch;
use super::walk_back::{Bounds, Cut, Fetched, walk_back};
use super::{ReceiveError, RemoteSource, lookup};

/// How many missing events are fetched. Earlier ones become a gap in the timeline, which is filled when a user pages
/// back to it.
const MAX_EVENTS: usize = 2_000;

/// Events that are not in the graph, with the missing events before them that could be fetched.
pub(super) struct WithMissing {
    /// Prev events first.
    pub events: Vec<Pdu>,
    /// Whether some of them were fetched.
    pub any_fetched: bool,
    /// Missing events that are older than the last gap.
    older: HashSet<EventId>,
    /// The newest gap before these events.
    last_gap: LastGap,
}

/// The newest open gap of a timeline, or what comes before its start.
#[derive(Clone, Copy)]
pub(super) struct LastGap {
    /// The gap's number, or [`START`].
    gap_nid: EventNid,
    /// The depth of the event after it. Events that are not deeper belong into the gap or before it.
    pub depth: u64,
}

impl WithMissing {
    /// Returns the gap to which the missing prev events of an event belong.
    pub(crate) fn gap_of(&self, pdu: &Pdu, missing: &[&EventId]) -> GapRef {
        let is_old =
            pdu.depth() <= self.last_gap.depth.saturating_add(1) || missing.iter().all(|id| self.older.contains(*id));
        if is_old { GapRef::Known(self.last_gap.gap_nid) } else { GapRef::New }
    }
}

/// Returns new events with the missing events before them, as far as the server returns them and they can be added
/// (<https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>).
pub(super) async fn with_missing(source: &RemoteSource<'_>, new: &[Pdu]) -> Result<WithMissing, ReceiveError> {
    let RemoteSource { receiver, room, .. } = *source;
    let db = &receiver.db;
    let last_gap = last_gap(db, room, Position::MAX).await?;
    let bounds = Bounds { events: MAX_EVENTS, min_depth: Some(last_gap.depth) };
    let Fetched { events, older } = walk_back(source, new, bounds).await?;
    let all: Vec<Pdu> = new.iter().chain(&events).cloned().collect();
    let missing = lookup::unknown_prev_events(db, room.nid, &all).await?;
    let judged = HashSet::new();
    let max_states = max_states_per_batch(room.view().state.len());
    let cut = Cut { from: new, is_placed: false, missing: &missing, judged: &judged, max_states };
    let fetched = cut.newest(events);
    let any_fetched = !fetched.is_empty();
    let events = outliers::prev_events_first(fetched.into_iter().chain(new.iter().cloned()).collect());
    Ok(WithMissing { events, any_fetched, older, last_gap })
}

/// Returns the newest open gap before the position `top`; events before it are fetched when a user pages back. Without
/// a gap, returns the start of the timeline.
pub(super) async fn last_gap(db: &Database, room: &Room, top: Position) -> Result<LastGap, DbError> {
    if let Some(gap) = room.view().gaps.newest_open(top) {
        return Ok(LastGap { gap_nid: gap.gap_nid, depth: gap.depth.unsigned_abs() });
    }
    let nid = room.nid;
    let depth = db.read(move |tx| repo::events::first_depth(tx, nid)).await?;
    Ok(LastGap { gap_nid: START, depth: depth.unwrap_or(0).unsigned_abs() })
}

#[cfg(test)]
mod tests {
    use plexus_protocol::event::build::PduBuilder;
    use plexus_protocol::event::sign::SigningKey;
    use plexus_protocol::id::{RoomId, ServerName, UserId};
    use plexus_protocol::json::Object;
    use plexus_protocol::rules::RoomVersion;

    use super::*;

    fn event_at(depth: u64) -> Pdu {
        let builder = PduBuilder {
            room_id: Some(RoomId::try_from("!room:b.example").unwrap()),
            sender: UserId::try_from("@bob:b.example").unwrap(),
            event_type: "org.example.test".to_owned(),
            state_key: None,
            content: Object::new(),
            unsigned: None,
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth,
            origin_server_ts: 0,
        };
        let server = ServerName::try_from("b.example").unwrap();
        builder.build(RoomVersion::V11, &SigningKey::generate(&[1; 32], "a"), &server).unwrap()
    }

    #[test]
    fn what_is_not_deeper_or_known_to_be_older_belongs_to_the_last_gap() {
        let (old, new) = (EventId::try_from("$old").unwrap(), EventId::try_from("$new").unwrap());
        let gap_nid = 7;
        let known = WithMissing {
            events: Vec::new(),
            any_fetched: false,
            older: HashSet::from([old.clone()]),
            last_gap: LastGap { gap_nid, depth: 10 },
        };
        for (depth, missing, is_old) in
            [(11, vec![&new], true), (12, vec![&new], false), (12, vec![&old], true), (12, vec![&old, &new], false)]
        {
            let from = known.gap_of(&event_at(depth), &missing);
            assert_eq!(matches!(from, GapRef::Known(nid) if nid == gap_nid), is_old, "{depth} {missing:?}");
        }
    }
}
