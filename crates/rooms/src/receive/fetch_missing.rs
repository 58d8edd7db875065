//! What comes before an event and is not known here.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_store::repo::events::{Known, Verdict};
use plexus_store::{DbError, Position, repo};

use super::effort::most_states;
use super::walk_back::{self, Bounds, Fetched};
use super::{Effort, PduReceiver, ReceiveError};
use crate::model::room::Room;
use crate::write::outliers;

/// How many events are fetched after a long absence. What is missing beyond them is a gap in the timeline, which is
/// filled when somebody pages back to it.
const ABSENCE: usize = 2_000;

/// Events that are not in the graph, with those that they follow as far as they could be had.
pub(super) struct WithMissing {
    /// Prev events first.
    pub events: Vec<Pdu>,
    /// Whether some of them were fetched.
    pub any_fetched: bool,
    /// What is missing and older than the last gap that was known.
    older: HashSet<EventId>,
    min_depth: u64,
}

impl WithMissing {
    /// Whether a missing prev event of an event is older than the last gap that was known.
    pub fn is_old(&self, pdu: &Pdu, missing: &EventId) -> bool {
        self.older.contains(missing) || pdu.depth() <= self.min_depth.saturating_add(1)
    }
}

impl PduReceiver {
    /// Adds to events that are not in the graph yet those that they follow, as far as `origin` gives them and they can
    /// be of use.
    pub(super) async fn with_missing(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        new: &[Pdu],
        effort: &Effort,
    ) -> Result<WithMissing, ReceiveError> {
        let min_depth = self.depth_after_gap(room, Position::MAX).await?;
        let bounds = Bounds { events: ABSENCE, min_depth: Some(min_depth) };
        let Fetched { events, older } = self.walk_back((origin, &effort.half()), room, new, bounds).await?;
        let all: Vec<Pdu> = new.iter().chain(&events).cloned().collect();
        let missing = self.unknown_prev_events(&all).await?;
        let fetched = walk_back::newest((new, false), events, &missing, most_states(room.view().state.len()));
        let any_fetched = !fetched.is_empty();
        let events = outliers::prev_events_first(fetched.into_iter().chain(new.iter().cloned()).collect());
        Ok(WithMissing { events, any_fetched, older, min_depth })
    }

    /// The depth of the event after the newest gap before the position `top`: what is older is fetched when somebody
    /// pages back. Without a gap it is the event by which this server came into the room.
    pub(super) async fn depth_after_gap(&self, room: &Room, top: Position) -> Result<u64, DbError> {
        if let Some(gap) = room.view().gaps.newest_open(top) {
            return Ok(gap.depth.unsigned_abs());
        }
        let nid = room.nid;
        let depth = self.rooms.db.read(move |tx| repo::events::first_depth(tx, nid)).await?;
        Ok(depth.unwrap_or(0).unsigned_abs())
    }

    /// Those of the events that have no place in the graph; what was rejected has one.
    pub(super) async fn not_placed(&self, pdus: Vec<Pdu>) -> Result<Vec<Pdu>, DbError> {
        let ids: Vec<EventId> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
        let known = self.rooms.known(&ids).await?;
        let placed = |pdu: &Pdu| known.get(pdu.event_id()).is_some_and(has_place);
        Ok(pdus.into_iter().filter(|pdu| !placed(pdu)).collect())
    }

    /// The prev events of these that are neither among them nor in the graph.
    pub(super) async fn unknown_prev_events(&self, pdus: &[Pdu]) -> Result<HashSet<EventId>, DbError> {
        let among: HashSet<&EventId> = pdus.iter().map(Pdu::event_id).collect();
        let mut outside: Vec<EventId> =
            pdus.iter().flat_map(Pdu::prev_events).filter(|id| !among.contains(id)).cloned().collect();
        outside.sort_unstable();
        outside.dedup();
        let known = self.rooms.known(&outside).await?;
        Ok(outside.into_iter().filter(|id| !known.get(id).is_some_and(has_place)).collect())
    }
}

/// Whether an event is in the graph and, if it is to be shown, in the timeline. The program may have ended between the
/// one and the other while history was being fetched.
pub(super) fn has_place(known: &Known) -> bool {
    known.snapshot_nid.is_some() && (known.position.is_some() || known.verdict != Verdict::Accepted)
}
