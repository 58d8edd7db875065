//! Events that can be placed with what is here.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_rooms::model::room::Room;
use plexus_rooms::write::graph::{Arrival, GivenStates};
use plexus_rooms::write::{outliers, policy};

use super::{Outcomes, PduReceiver, ReceiveError};

impl PduReceiver {
    /// Places those of the events of a room that rest only on what is here; answers what became of each, and those that
    /// another server has to be asked about. What is placed already is in neither.
    pub(crate) async fn place_ready(
        &self,
        room: &Arc<Room>,
        pdus: Vec<Pdu>,
    ) -> Result<(Outcomes, Vec<Pdu>), ReceiveError> {
        let new = self.not_placed(room.nid, pdus).await?;
        let mut lacking = self.unknown_prev_events(room.nid, &new).await?;
        let among: HashSet<EventId> = new.iter().map(|pdu| pdu.event_id().clone()).collect();
        lacking.extend(self.unknown_auth_events(&new, &among).await?);
        let mut later = Vec::new();
        let mut ready = Vec::with_capacity(new.len());
        // What follows one that is not ready is not ready either.
        for pdu in outliers::prev_events_first(new) {
            let rests_on = pdu.prev_events().iter().chain(pdu.auth_events()).cloned().chain(outliers::create_of(&pdu));
            if rests_on.into_iter().any(|id| lacking.contains(&id)) || policy::needs_recommendation(room, &pdu) {
                lacking.insert(pdu.event_id().clone());
                later.push(pdu);
            } else {
                ready.push(pdu);
            }
        }
        let outcomes = self.add_all(room, &ready, &GivenStates::new(), Arrival::Sent).await?;
        Ok((outcomes, later))
    }
}
