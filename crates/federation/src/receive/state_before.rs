//! The state before an event with missing prev events, as another server returns it
//! (<https://spec.matrix.org/v1.19/server-server-api/#retrieving-events>).

use std::collections::HashSet;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_rooms::PeerError;
use plexus_rooms::model::event_lookup;
use plexus_rooms::write::graph::{GapRef, GivenState, GivenStates};
use plexus_rooms::write::outliers;
use plexus_store::EventNid;

use super::receive_state::{receive_state, usable_state};
use super::{ReceiveError, ReceiveStateError, RemoteSource, lookup};
use crate::peers::StateIds;

/// More missing events than this are fetched with the whole state; fewer are fetched one by one.
const MAX_FETCHED_SINGLY: usize = 32;

/// The state before an event as a server returned it.
struct FetchedState {
    state: Vec<EventNid>,
    /// Whether the server did not return all of its events.
    has_gaps: bool,
    /// The number of its events, with those that had to be fetched for it.
    size: usize,
}

/// Fetches the state before each event that has unknown prev events. Events that are in the graph are left out, and so
/// are events whose state the server does not return or may not be asked for now: they cannot be added. `gap_of`
/// returns the gap to which the missing prev events of an event belong, if it is to be stored.
pub(super) async fn fetch_states(
    source: &RemoteSource<'_>,
    pdus: &[Pdu],
    gap_of: impl Fn(&Pdu, &[&EventId]) -> Option<GapRef>,
) -> Result<GivenStates, ReceiveError> {
    let RemoteSource { receiver, room, server, .. } = *source;
    let db = &receiver.db;
    let unknown = lookup::unknown_prev_events(db, room.nid, pdus).await?;
    let mut given = GivenStates::new();
    if unknown.is_empty() {
        return Ok(given);
    }
    let follows_unknown = |pdu: &&Pdu| pdu.prev_events().iter().any(|id| unknown.contains(id));
    let judged = lookup::in_graph(db, room.nid, pdus).await?;
    for pdu in pdus.iter().filter(follows_unknown).filter(|pdu| !judged.contains(pdu.event_id())) {
        let expected = room.view().state.len();
        if !is_within_limits(source, expected).await {
            tracing::info!(event = %pdu.event_id(), room = %room.id, "{server} has been asked for too many states");
            continue;
        }
        let fetched = fetch_state(source, pdu.event_id()).await;
        let size = fetched.as_ref().map_or(usize::MAX, |fetched| fetched.size);
        receiver.state_limits.charge(room.nid, server, expected, size);
        match fetched {
            Ok(FetchedState { state, .. }) => {
                let missing: Vec<&EventId> = pdu.prev_events().iter().filter(|id| unknown.contains(*id)).collect();
                let gap = gap_of(pdu, &missing);
                given.insert(pdu.event_id().clone(), GivenState { state, gap });
            }
            Err(ReceiveError::MissingEvents) => {
                tracing::info!(event = %pdu.event_id(), room = %room.id, "{server} did not return the state before it");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(given)
}

/// Whether the server may be asked for a state of the room. Within the deadline of a request, this waits until it may.
async fn is_within_limits(source: &RemoteSource<'_>, expected: usize) -> bool {
    let RemoteSource { receiver, room, server, deadline } = *source;
    loop {
        match receiver.state_limits.take(room.nid, server, expected) {
            Ok(()) => return true,
            Err(limit) if deadline.pause(limit.retry_after).await => {}
            Err(_) => return false,
        }
    }
}

/// Fetches and stores the state before an event. Rejected events are not part of it.
///
/// # Errors
/// [`ReceiveError::MissingEvents`] also when the server does not return some of the events.
pub(super) async fn fetch_whole_state(
    source: &RemoteSource<'_>,
    event: &EventId,
) -> Result<Vec<EventNid>, ReceiveError> {
    match fetch_state(source, event).await? {
        FetchedState { state, has_gaps: false, .. } => Ok(state),
        FetchedState { has_gaps: true, .. } => Err(ReceiveError::MissingEvents),
    }
}

/// Fetches and stores the state before an event, as far as the server returns it. Rejected events are not part of it.
async fn fetch_state(source: &RemoteSource<'_>, event: &EventId) -> Result<FetchedState, ReceiveError> {
    let RemoteSource { receiver, room, server, .. } = *source;
    let db = &receiver.db;
    let StateIds { state, auth_chain } = match source.ask(receiver.peers.state_ids(server, &room.id, event)).await {
        Ok(ids) => ids,
        Err(error) => {
            tracing::info!(%event, room = %room.id, "{error}");
            return Err(ReceiveError::MissingEvents);
        }
    };
    let all: Vec<EventId> = state.iter().chain(&auth_chain).cloned().collect::<HashSet<_>>().into_iter().collect();
    let known = event_lookup::known(db, &all).await?;
    let unknown: Vec<EventId> = all.into_iter().filter(|id| !known.contains_key(id)).collect();
    let size = state.len() + unknown.len();
    let has_gaps = !fetch_events(source, event, unknown).await?;
    let nids = usable_state(db, room, &state).await?;
    // A state without this room's create event belongs to another room.
    let view = room.view();
    let create = view.event_nid("m.room.create", "");
    if create.is_none_or(|create| nids.contains(&create)) && !nids.is_empty() {
        Ok(FetchedState { state: nids, has_gaps, size })
    } else {
        Err(ReceiveError::MissingEvents)
    }
}

/// Fetches and stores events of the state before `event`. Returns whether the server returned all of them.
async fn fetch_events(source: &RemoteSource<'_>, event: &EventId, unknown: Vec<EventId>) -> Result<bool, ReceiveError> {
    let RemoteSource { receiver, room, server, deadline } = *source;
    if unknown.len() > MAX_FETCHED_SINGLY {
        let receiving = async {
            let _permit = receiver.large_responses.acquire().await;
            let mut parts = receiver.peers.state(server, &room.id, event).await?;
            receive_state(receiver, room, &mut *parts).await.map(|_| ())
        };
        let late = || Err(PeerError::timeout(server).into());
        return match deadline.limit(receiving).await.unwrap_or_else(late) {
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
        match source.ask(receiver.peers.event(server, id)).await {
            Ok(pdu) => raw.push(pdu),
            Err(error) => tracing::info!(event = %id, room = %room.id, "{error}"),
        }
    }
    let is_complete = raw.len() == unknown.len();
    let events = receiver.verifier.parse_and_verify(room, raw).await;
    outliers::store(&receiver.writer, room, events).await?;
    Ok(is_complete)
}
