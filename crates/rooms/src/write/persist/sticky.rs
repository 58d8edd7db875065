//! Selects the events that are sticky (MSC4354).

use plexus_protocol::event::sticky;
use plexus_store::repo::events::Verdict;
use plexus_store::{DbError, Position, StickyEvent, Tx};

use crate::model::engine_memory::EngineMemory;
use crate::model::interner::Lookups;
use crate::model::room::Room;
use crate::write::pending::PendingEvent;

/// Returns the row of an event that is sticky now. A soft-failed one may be allowed later, but not one that the room's
/// policy server has refused.
pub(super) fn sticky_event(
    tx: &mut Tx<'_>,
    memory: &EngineMemory,
    room: &Room,
    event: &PendingEvent,
    position: Option<Position>,
    now_ms: u64,
    lookups: &mut Lookups<'_>,
) -> Result<Option<StickyEvent>, DbError> {
    if !memory.sticky.is_enabled() || event.redacted_by.is_some() {
        return Ok(None);
    }
    let Some(expires_ts) = sticky::expires_ts(&event.pdu, now_ms).filter(|expires_ts| *expires_ts > now_ms) else {
        return Ok(None);
    };
    let soft_failed = event.verdict == Verdict::SoftFailed;
    let policy = room.view().policy_server(event.pdu.event_type(), event.pdu.state_key());
    let is_refused = policy.is_some_and(|policy| !policy.recommends(&event.pdu));
    if !event.in_timeline && (!soft_failed || is_refused) {
        return Ok(None);
    }
    let row = StickyEvent {
        event_nid: event.nid,
        room_nid: room.nid,
        position: position.unwrap_or(0),
        sender: lookups.user(tx, event.pdu.sender())?,
        expires_ts,
        bytes: u64::try_from(event.pdu.json().len()).unwrap_or(u64::MAX),
        is_own: event.pdu.sender().server_name() == memory.server_name.as_str(),
        soft_failed,
    };
    if !memory.sticky.has_space(&row) {
        let event = event.pdu.event_id();
        tracing::info!(%event, room = %room.id, "not sticky: the room or its sender has too many sticky events");
        return Ok(None);
    }
    let position = position.map_or_else(|| tx.next_position(), Ok)?;
    Ok(Some(StickyEvent { position, ..row }))
}
