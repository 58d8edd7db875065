//! What comes before an event and is not known here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_store::{DbError, repo};

use super::{Effort, PduReceiver, ReceiveError};
use crate::outliers;
use crate::peers::MissingEvents;
use crate::room::Room;

/// How many missing events are asked for at once; what is missing beyond them remains a gap that is filled when a client pages
/// back.
const LIMIT: u32 = 20;
/// How many events are fetched in one step after a long absence, and how many in all.
const STEP: u32 = 100;
const ABSENCE: usize = 2_000;

impl PduReceiver {
    /// The events that are not in the graph yet, with those that they follow, as far as `origin` gives them; prev events first.
    pub(super) async fn with_missing(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        pdus: Vec<Pdu>,
        effort: &Effort,
    ) -> Result<Vec<Pdu>, ReceiveError> {
        let new = self.not_placed(pdus).await?;
        if new.is_empty() {
            return Ok(new);
        }
        let unknown = self.unknown_prev_events(&new).await?;
        if unknown.is_empty() {
            return Ok(new);
        }
        let latest = new.iter().filter(|pdu| pdu.prev_events().iter().any(|id| unknown.contains(id)));
        let min_depth = self.first_depth(room).await?;
        let query = MissingEvents {
            earliest: room.view().extremities().cloned().collect(),
            latest: latest.map(|pdu| pdu.event_id().clone()).collect(),
            limit: LIMIT,
            min_depth,
        };
        let found = match effort.ask(origin, self.peers.missing_events(origin, &room.id, query)).await {
            Ok(raw) => self.open(room, raw.into_iter().take(LIMIT as usize).collect()).await,
            Err(error) => {
                tracing::info!(room = %room.id, "what comes before an event could not be fetched: {error}");
                Vec::new()
            }
        };
        let mut all = new.clone();
        all.extend(connected(&new, self.not_placed(found).await?));
        self.long_absence((origin, effort), room, &mut all, min_depth).await?;
        Ok(outliers::prev_events_first(all))
    }

    /// After a long absence a few events are not enough: the rest is fetched in larger steps, back to what is known.
    async fn long_absence(
        &self,
        (origin, effort): (&ServerName, &Effort),
        room: &Arc<Room>,
        all: &mut Vec<Pdu>,
        min_depth: u64,
    ) -> Result<(), DbError> {
        while all.len() < ABSENCE {
            let unknown = self.unknown_prev_events(all).await?;
            let mut ends: Vec<&Pdu> = all
                .iter()
                .filter(|pdu| pdu.depth() > min_depth && pdu.prev_events().iter().any(|id| unknown.contains(id)))
                .collect();
            ends.sort_by_key(|pdu| pdu.depth());
            let ends: Vec<EventId> = ends.iter().take(LIMIT as usize).map(|pdu| pdu.event_id().clone()).collect();
            if ends.is_empty() {
                return Ok(());
            }
            let asked = self.peers.backfill(origin, &room.id, &ends, STEP);
            let Ok(raw) = effort.ask(origin, asked).await else { return Ok(()) };
            let found = self.open(room, raw.into_iter().take(STEP as usize).collect()).await;
            let known: HashSet<EventId> = all.iter().map(|pdu| pdu.event_id().clone()).collect();
            let mut found = connected(all, self.not_placed(found).await?);
            found.retain(|pdu| pdu.depth() > min_depth && !known.contains(pdu.event_id()));
            if found.is_empty() {
                return Ok(());
            }
            all.extend(found);
        }
        Ok(())
    }

    /// The depth at which this server came into the room; what is older is fetched when somebody pages back.
    async fn first_depth(&self, room: &Room) -> Result<u64, DbError> {
        let nid = room.nid;
        let depth = self.rooms.db.read(move |tx| repo::events::first_depth(tx, nid)).await?;
        Ok(depth.unwrap_or(0).unsigned_abs())
    }

    /// Those of the events that have no place in the graph; what was rejected has one.
    pub(super) async fn not_placed(&self, pdus: Vec<Pdu>) -> Result<Vec<Pdu>, DbError> {
        let ids: Vec<EventId> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
        let known = self.rooms.known(&ids).await?;
        let placed = |pdu: &Pdu| known.get(pdu.event_id()).is_some_and(|known| known.snapshot_nid.is_some());
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
        let placed = |id: &EventId| known.get(id).is_some_and(|known| known.snapshot_nid.is_some());
        Ok(outside.into_iter().filter(|id| !placed(id)).collect())
    }
}

/// Those of `found` that `from` follow, directly or not: what else a server hands out was not asked for.
pub(super) fn connected(from: &[Pdu], found: Vec<Pdu>) -> Vec<Pdu> {
    let mut left: HashMap<EventId, Pdu> = found.into_iter().map(|pdu| (pdu.event_id().clone(), pdu)).collect();
    let mut kept = Vec::new();
    let mut open: Vec<EventId> = from.iter().flat_map(|pdu| pdu.prev_events().to_vec()).collect();
    while let Some(id) = open.pop() {
        if let Some(pdu) = left.remove(&id) {
            open.extend(pdu.prev_events().iter().cloned());
            kept.push(pdu);
        }
    }
    kept
}
