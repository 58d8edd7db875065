//! The forward extremities and the current state after an event.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_store::repo::events::{GraphNode, Verdict};
use plexus_store::{DbError, EventNid};

use super::candidate::Candidate;
use super::state_before::{self, StateAfter};
use crate::model::current_state::{self, StateChange};
use crate::model::graph_tip::{Extremity, Tip};
use crate::model::head::Head;
use crate::model::room::Room;
use crate::model::state_at::StateAt;
use crate::model::{auth_index, event_lookup};
use crate::write::merge;
use crate::write::writer::RoomWriter;

/// The maximum number of rejected or soft-failed predecessors that are walked through to find forward extremities.
const MAX_HIDDEN_EVENTS: usize = 100;

/// Advances `next` to the event. Returns the changes of the current state. `after` is the state after the event, and
/// gets the snapshots of state resolution.
pub(super) async fn advance(
    writer: &RoomWriter,
    room: &Room,
    head: &Head,
    next: &mut Head,
    candidate: &Candidate<'_>,
    nid: EventNid,
    after: &mut StateAfter,
) -> Result<Vec<StateChange>, DbError> {
    let pdu = candidate.pdu;
    let followed = followed(writer, room, pdu, head).await?;
    let mut extremities: Vec<Extremity> = head
        .tip
        .extremities
        .iter()
        .filter(|extremity| !candidate.entering && !followed.contains(&extremity.event_id))
        .cloned()
        .collect();
    let state = if extremities.is_empty() {
        after.at.clone()
    } else {
        let ids: Vec<EventId> = extremities.iter().map(|extremity| extremity.event_id.clone()).collect();
        let known = event_lookup::known(&writer.db, &ids).await?;
        let known: Vec<&GraphNode> = known.values().collect();
        // The state after the event is not stored yet; the current one is.
        let current = StateAt { snapshot: head.tip.snapshot, state: head.current.state.clone() };
        let mut branches = state_before::states_after(writer, room, &current, &known).await?;
        branches.push(after.at.clone());
        let merged = merge::merge(writer, room, branches, Some((nid, pdu))).await?;
        after.new.extend(merged.new);
        merged.at
    };
    let depth = if extremities.is_empty() { pdu.depth() } else { pdu.depth().max(head.tip.depth) };
    extremities.push(Extremity { nid, event_id: pdu.event_id().clone() });
    next.tip = Tip { extremities: extremities.into(), depth, snapshot: state.snapshot };
    let changes = changes(head, &state);
    if !changes.is_empty() {
        let server_name = writer.server_name.as_str();
        next.current = Arc::new(if candidate.entering {
            // The earlier state of the room is replaced.
            current_state::current_state(room.version, state.state, server_name)
        } else {
            current_state::with_changes(&head.current, &changes, room.version, server_name)
        });
    }
    if let Some(partial) = candidate.partial {
        let current = Arc::make_mut(&mut next.current);
        partial.servers.iter().for_each(|server| current.servers.add_claimed(server.as_str()));
    }
    Ok(changes)
}

/// Returns the events that an event follows: its prev events, and the predecessors of hidden ones.
async fn followed(writer: &RoomWriter, room: &Room, pdu: &Pdu, head: &Head) -> Result<HashSet<EventId>, DbError> {
    let mut followed: HashSet<EventId> = pdu.prev_events().iter().cloned().collect();
    if head.tip.extremities.iter().all(|extremity| followed.contains(&extremity.event_id)) {
        return Ok(followed);
    }
    let mut open: Vec<EventId> = pdu.prev_events().to_vec();
    while !open.is_empty() && followed.len() < MAX_HIDDEN_EVENTS {
        let known = event_lookup::known(&writer.db, &open).await?;
        let hidden: Vec<EventId> = known
            .into_iter()
            .filter(|(_, known)| {
                known.room_nid == room.nid && known.snapshot_nid.is_some() && known.verdict != Verdict::Accepted
            })
            .map(|(id, _)| id)
            .collect();
        let events = auth_index::auth_events(&writer.db, (room.nid, room.version), &hidden).await?;
        open = events.values().flat_map(|event| event.pdu.prev_events().to_vec()).collect();
        open.retain(|id| followed.insert(id.clone()));
    }
    Ok(followed)
}

/// Returns the changes from the current state to another.
fn changes(head: &Head, state: &StateAt) -> Vec<StateChange> {
    let current = &head.current.state;
    let change = |(event_type, state_key): (Arc<str>, Arc<str>)| StateChange {
        entry: state.state.get(&event_type, &state_key).cloned(),
        replaced: current.get(&event_type, &state_key).map(|entry| entry.nid),
        event_type,
        state_key,
    };
    current.difference(&state.state).into_iter().map(change).collect()
}
