//! The state before an event whose predecessors are not known: as the server that sent it tells.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_rooms::PeerError;
use plexus_rooms::model::event_lookup;
use plexus_rooms::model::room::Room;
use plexus_rooms::write::graph::{GivenState, GivenStates, MissingFrom};
use plexus_rooms::write::outliers;
use plexus_store::EventNid;

use super::{Deadline, PduReceiver, ReceiveError, ReceiveStateError};
use crate::peers::StateIds;

/// So many unknown events are fetched one by one; for more the whole state is.
const SINGLY: usize = 32;

/// The state before an event as a server tells it.
struct WholeOrPart {
    state: Vec<EventNid>,
    /// Whether the server has not told all of its events.
    has_gaps: bool,
    /// How many events that was, with what had to be fetched for it.
    size: usize,
}

impl PduReceiver {
    /// Asks for the state before each of the events that follow an unknown one. An event whose state the server does
    /// not give, or not yet, is left out: it cannot be placed. One that is in the graph already is left out too.
    /// `missing_from` returns where the missing prev events of an event belong, if that is to be noted.
    pub(super) async fn told_states(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        pdus: &[Pdu],
        deadline: &Deadline,
        missing_from: impl Fn(&Pdu, &[&EventId]) -> Option<MissingFrom>,
    ) -> Result<GivenStates, ReceiveError> {
        let unknown = self.unknown_prev_events(room.nid, pdus).await?;
        let mut told = GivenStates::new();
        if unknown.is_empty() {
            return Ok(told);
        }
        let follows_unknown = |pdu: &&Pdu| pdu.prev_events().iter().any(|id| unknown.contains(id));
        let judged = self.in_graph(room, pdus).await?;
        for pdu in pdus.iter().filter(follows_unknown).filter(|pdu| !judged.contains(pdu.event_id())) {
            let expected = room.view().state.len();
            if !self.may_be_told((origin, deadline), room, expected).await {
                tracing::info!(event = %pdu.event_id(), room = %room.id, "{origin} has told enough states for now");
                continue;
            }
            let asked = self.told_state_and_gaps((origin, deadline), room, pdu.event_id()).await;
            let size = asked.as_ref().map_or(usize::MAX, |told| told.size);
            self.state_limits.add((room.nid, origin), expected, size);
            match asked {
                Ok(WholeOrPart { state, .. }) => {
                    let missing: Vec<&EventId> = pdu.prev_events().iter().filter(|id| unknown.contains(*id)).collect();
                    let missing_from = missing_from(pdu, &missing);
                    told.insert(pdu.event_id().clone(), GivenState { state, missing_from });
                }
                Err(ReceiveError::MissingEvents) => {
                    tracing::info!(event = %pdu.event_id(), room = %room.id, "{origin} does not tell the state before it");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }

    /// Whether `server` may tell a state of the room now. Somebody who waits anyway waits until it may, if there is
    /// time.
    async fn may_be_told(&self, (server, deadline): (&ServerName, &Deadline), room: &Room, expected: usize) -> bool {
        loop {
            match self.state_limits.take((room.nid, server), expected, self.writer.clock.monotonic()) {
                Ok(()) => return true,
                Err(wait) if deadline.pause(wait).await => {}
                Err(_) => return false,
            }
        }
    }

    /// The state before an event as `server` tells it, all of it stored. What was rejected is no part of it.
    ///
    /// # Errors
    /// [`ReceiveError::MissingEvents`] also when the server does not tell some of the events.
    pub(crate) async fn whole_told_state(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        event: &EventId,
        deadline: &Deadline,
    ) -> Result<Vec<EventNid>, ReceiveError> {
        match self.told_state_and_gaps((server, deadline), room, event).await? {
            WholeOrPart { state, has_gaps: false, .. } => Ok(state),
            WholeOrPart { has_gaps: true, .. } => Err(ReceiveError::MissingEvents),
        }
    }

    /// The state before an event as far as `server` tells it, stored. What was rejected is no part of it.
    async fn told_state_and_gaps(
        &self,
        (server, deadline): (&ServerName, &Deadline),
        room: &Arc<Room>,
        event: &EventId,
    ) -> Result<WholeOrPart, ReceiveError> {
        let asked = self.peers.state_ids(server, &room.id, event);
        let StateIds { state, auth_chain } = match deadline.ask(server, asked).await {
            Ok(ids) => ids,
            Err(error) => {
                tracing::info!(%event, room = %room.id, "{error}");
                return Err(ReceiveError::MissingEvents);
            }
        };
        let all: Vec<EventId> = state.iter().chain(&auth_chain).cloned().collect::<HashSet<_>>().into_iter().collect();
        let known = event_lookup::known(&self.writer.db, &all).await?;
        let unknown: Vec<EventId> = all.into_iter().filter(|id| !known.contains_key(id)).collect();
        let size = state.len() + unknown.len();
        let has_gaps = !self.fetch_state((server, deadline), room, event, unknown).await?;
        let nids = self.usable_state(room, &state).await?;
        // What has not this room's create event in it is no state of this room.
        let view = room.view();
        let create = view.event_nid("m.room.create", "");
        if create.is_none_or(|create| nids.contains(&create)) && !nids.is_empty() {
            Ok(WholeOrPart { state: nids, has_gaps, size })
        } else {
            Err(ReceiveError::MissingEvents)
        }
    }

    /// Fetches and stores events of a state. Returns whether the server told all of them.
    async fn fetch_state(
        &self,
        (server, deadline): (&ServerName, &Deadline),
        room: &Arc<Room>,
        event: &EventId,
        unknown: Vec<EventId>,
    ) -> Result<bool, ReceiveError> {
        if unknown.len() > SINGLY {
            let taking = async {
                let _one_of_few = self.large_answers.acquire().await;
                let mut parts = self.peers.state(server, &room.id, event).await?;
                self.receive_state(room, &mut *parts).await.map(|_| ())
            };
            let late = || Err(PeerError::timeout(server).into());
            return match deadline.limit(taking).await.unwrap_or_else(late) {
                Err(ReceiveStateError::Db(error)) => Err(error.into()),
                Err(error) => {
                    tracing::info!(%event, room = %room.id, "{error}");
                    Ok(false)
                }
                Ok(()) => Ok(true),
            };
        }
        let mut raw = Vec::new();
        for id in &unknown {
            match deadline.ask(server, self.peers.event(server, id)).await {
                Ok(pdu) => raw.push(pdu),
                Err(error) => tracing::info!(event = %id, room = %room.id, "{error}"),
            }
        }
        let all_told = raw.len() == unknown.len();
        let events = self.open(room, raw).await;
        outliers::store(&self.writer, room, events).await?;
        Ok(all_told)
    }
}
