//! Checks of an event against the authorization rules
//! (<https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>, 4 to 7).

use plexus_protocol::auth;
use plexus_store::DbError;
use plexus_store::repo::events::Verdict;

use super::candidate::Candidate;
use crate::model::head::Head;
use crate::model::room::Room;
use crate::model::state_at::StateAt;
use crate::model::state_map::StateMap;
use crate::write::auth_state::{self, AuthState};
use crate::write::writer::RoomWriter;

/// Returns the verdict on a candidate, whose state before it is `before`.
pub(super) async fn verdict(
    writer: &RoomWriter,
    room: &Room,
    head: &Head,
    candidate: &Candidate<'_>,
    before: &StateAt,
) -> Result<Verdict, DbError> {
    let pdu = candidate.pdu;
    // 4. Its auth events.
    if candidate.by_auth_events == Verdict::Rejected {
        return Ok(Verdict::Rejected);
    }
    // 5. The state before it.
    let state = state_to_judge_by(writer, room, &before.state, candidate).await?;
    if let Err(reason) = auth::check(room.version.rules(), pdu, &state.lookup()) {
        tracing::info!(event = %pdu.event_id(), room = %room.id, "rejected by the state before it: {reason}");
        return Ok(Verdict::Rejected);
    }
    if candidate.entering {
        return Ok(Verdict::Accepted);
    }
    if candidate.is_refused {
        return Ok(Verdict::SoftFailed);
    }
    // 7. The room's policy server, which has been asked where it had to be.
    let policy = head.current.policy_server(pdu.event_type(), pdu.state_key());
    if policy.is_some_and(|policy| !policy.recommends(pdu)) {
        let event = pdu.event_id();
        tracing::info!(%event, room = %room.id, "soft-failed: the policy server has not recommended it");
        return Ok(Verdict::SoftFailed);
    }
    // 6. The current state.
    if before.snapshot.nid == head.tip.snapshot.nid {
        return Ok(Verdict::Accepted);
    }
    let state = state_to_judge_by(writer, room, &head.current.state, candidate).await?;
    if let Err(reason) = auth::check(room.version.rules(), pdu, &state.lookup()) {
        tracing::info!(event = %pdu.event_id(), room = %room.id, "soft-failed: {reason}");
        return Ok(Verdict::SoftFailed);
    }
    Ok(Verdict::Accepted)
}

/// The part of `state` that the authorization rules look at. Where member events are missing from it, those that
/// the event names as auth events take their place: they have been checked, and the other server may have left the
/// authorising user and even the joining one out of the state
/// (https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid).
async fn state_to_judge_by(
    writer: &RoomWriter,
    room: &Room,
    state: &StateMap,
    candidate: &Candidate<'_>,
) -> Result<AuthState, DbError> {
    let members_omitted = if candidate.entering { candidate.partial.is_some() } else { room.view().is_partial() };
    let mut state = auth_state::auth_state(&writer.rooms, room.version, state, candidate.pdu).await?;
    if members_omitted {
        state.add_members(candidate.pdu.auth_events().iter().filter_map(|id| candidate.auth_events.get(id)));
    }
    Ok(state)
}
