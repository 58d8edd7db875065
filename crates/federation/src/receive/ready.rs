//! Separates the events that can be added now from those that need another server.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_rooms::model::room::Room;
use plexus_rooms::write::{outliers, policy};
use plexus_store::{Database, DbError};

use super::lookup;

/// Received events of a room that are not in its graph.
pub(super) struct Separated {
    /// The events whose prev events and auth events are here, prev events first.
    pub ready: Vec<Pdu>,
    /// The events that another server has to be asked about.
    pub later: Vec<Pdu>,
}

/// Separates the events that can be added now from the others. Events that are in the graph already are left out.
pub(super) async fn separate(db: &Database, room: &Arc<Room>, pdus: Vec<Pdu>) -> Result<Separated, DbError> {
    let new = lookup::without_place(db, room.nid, pdus).await?;
    let mut lacking = lookup::unknown_prev_events(db, room.nid, &new).await?;
    let among: HashSet<EventId> = new.iter().map(|pdu| pdu.event_id().clone()).collect();
    lacking.extend(lookup::unknown_auth_events(db, &new, &among).await?);
    let mut separated = Separated { ready: Vec::with_capacity(new.len()), later: Vec::new() };
    // An event that follows one which is not ready is not ready either.
    for pdu in outliers::prev_events_first(new) {
        let mut named =
            pdu.prev_events().iter().chain(pdu.auth_events()).cloned().chain(outliers::create_event_of(&pdu));
        if named.any(|id| lacking.contains(&id)) || policy::needs_recommendation(room, &pdu) {
            lacking.insert(pdu.event_id().clone());
            separated.later.push(pdu);
        } else {
            separated.ready.push(pdu);
        }
    }
    Ok(separated)
}
