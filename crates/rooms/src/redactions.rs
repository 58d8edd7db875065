//! Redactions that other servers sent (room version 3, "Handling redactions"): a redaction and its target come in any order.

use std::sync::Arc;

use plexus_protocol::event::{Pdu, redact};
use plexus_protocol::id::EventId;
use plexus_protocol::power_levels::PowerLevels;
use plexus_store::{DbError, event_key, repo};

use crate::head::{self, Head, StateChange};
use crate::load;
use crate::persist::PendingRedaction;
use crate::registry::Rooms;
use crate::room::Room;
use crate::state_at::StateAt;
use crate::timeline;
use crate::timeline_event::TimelineEvent;

/// A redaction, and what it leaves of its target.
pub(crate) struct Redaction {
    pub pending: PendingRedaction,
    pub redacted: Pdu,
}

/// The event that a redaction redacts.
pub(crate) fn redaction_target(pdu: &Pdu) -> Option<&EventId> {
    pdu.redacts().filter(|_| pdu.event_type() == "m.room.redaction" && pdu.state_key().is_none())
}

impl Rooms {
    /// What a redaction redacts, when that is in the timeline and may be redacted by its sender.
    pub(crate) async fn redaction(
        &self,
        room: &Room,
        state: &StateAt,
        pdu: &Pdu,
    ) -> Result<Option<Redaction>, DbError> {
        let Some(target) = redaction_target(pdu) else { return Ok(None) };
        let Some(event) = timeline::event(room, target).await? else { return Ok(None) };
        if !may_redact(&load::power_levels(room.version, &state.state), pdu, &event.pdu) {
            return Ok(None);
        }
        let pending = PendingRedaction { target: event.nid, entry: None };
        Ok(Some(Redaction { pending, redacted: redact::redact(&event.pdu) }))
    }

    /// Redacts the entry of the current state that a redaction concerns, if there is one.
    pub(crate) fn redact_in_state(&self, room: &Room, next: &mut Head, redaction: &mut Redaction) {
        let entry = head::redacted_entry(&next.current, redaction.pending.target, &redaction.redacted);
        if let Some(entry) = &entry {
            let change = StateChange::set(Arc::clone(entry), None);
            let server_name = self.server_name.as_str();
            next.current = Arc::new(head::with_changes(&next.current, [&change], room.version, server_name));
        }
        redaction.pending.entry = entry;
    }

    /// The redaction of an event that came before it, if its sender may redact the event.
    pub(crate) async fn early_redaction(&self, room: &Room, pdu: &Pdu) -> Result<Option<Arc<TimelineEvent>>, DbError> {
        let (key, nid, version) = (event_key::encode(pdu.event_id()), room.nid, room.version);
        let found = self.db.read(move |tx| {
            let nids = repo::redactions::early(tx, nid, &key)?;
            if nids.is_empty() { Ok(Vec::new()) } else { load::by_nids(tx, version, &nids) }
        });
        let found = found.await?;
        let view = room.view();
        Ok(found.into_iter().find(|redaction| {
            redaction_target(&redaction.pdu) == Some(pdu.event_id())
                && may_redact(&view.power_levels, &redaction.pdu, pdu)
        }))
    }
}

/// Until room version 2 the authorization rules say who may; from 3 on the sender's server or its power.
fn may_redact(levels: &PowerLevels, redaction: &Pdu, target: &Pdu) -> bool {
    let by_server = target.sender().server_name() == redaction.sender().server_name();
    redaction.room_id() == target.room_id() && (by_server || levels.user(redaction.sender()) >= levels.redact())
}
