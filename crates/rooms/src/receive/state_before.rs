//! The state before an event whose predecessors are not known: as the server that sent it tells.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_store::EventNid;

use super::{PduReceiver, ReceiveError, TakeInError};
use crate::peers::StateIds;
use crate::room::Room;

/// So many unknown events are fetched one by one; for more the whole state is.
const SINGLY: usize = 32;

/// Event to the state before it.
pub(super) type ToldStates = HashMap<EventId, Vec<EventNid>>;

impl PduReceiver {
    /// Asks for the state before each of the events that follow an unknown one. An event of which nobody tells the state is
    /// left out: it cannot be placed.
    pub(super) async fn told_states(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        pdus: &[Pdu],
    ) -> Result<ToldStates, ReceiveError> {
        let unknown = self.unknown_prev_events(pdus).await?;
        let mut told = ToldStates::new();
        if unknown.is_empty() {
            return Ok(told);
        }
        for pdu in pdus.iter().filter(|pdu| pdu.prev_events().iter().any(|id| unknown.contains(id))) {
            match self.told_state(origin, room, pdu.event_id()).await {
                Ok(state) => _ = told.insert(pdu.event_id().clone(), state),
                Err(ReceiveError::MissingEvents) => {
                    tracing::info!(event = %pdu.event_id(), room = %room.id, "{origin} does not tell the state before it");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }

    /// The state before an event as `server` tells it, all of it stored. What was rejected is no part of it.
    pub(crate) async fn told_state(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        event: &EventId,
    ) -> Result<Vec<EventNid>, ReceiveError> {
        let StateIds { state, auth_chain } = match self.peers.state_ids(server, &room.id, event).await {
            Ok(ids) => ids,
            Err(error) => {
                tracing::info!(%event, room = %room.id, "{error}");
                return Err(ReceiveError::MissingEvents);
            }
        };
        let all: Vec<EventId> = state.iter().chain(&auth_chain).cloned().collect::<HashSet<_>>().into_iter().collect();
        let known = self.rooms.known(&all).await?;
        let unknown: Vec<EventId> = all.into_iter().filter(|id| !known.contains_key(id)).collect();
        self.fetch_state(server, room, event, unknown).await?;
        let nids = self.usable_state(room, &state).await?;
        if nids.is_empty() { Err(ReceiveError::MissingEvents) } else { Ok(nids) }
    }

    async fn fetch_state(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        event: &EventId,
        unknown: Vec<EventId>,
    ) -> Result<(), ReceiveError> {
        if unknown.len() > SINGLY {
            let taken = match self.peers.state(server, &room.id, event).await {
                Ok(mut parts) => self.take_in(room, &mut *parts).await.map(|_| ()),
                Err(error) => Err(error.into()),
            };
            return match taken {
                Err(TakeInError::Db(error)) => Err(error.into()),
                Err(error) => {
                    tracing::info!(%event, room = %room.id, "{error}");
                    Ok(())
                }
                Ok(()) => Ok(()),
            };
        }
        let mut raw = Vec::new();
        for id in &unknown {
            match self.peers.event(server, id).await {
                Ok(pdu) => raw.push(pdu),
                Err(error) => tracing::info!(event = %id, room = %room.id, "{error}"),
            }
        }
        let events = self.open(room, raw).await;
        Ok(self.rooms.store_outliers(room, events).await?)
    }
}
