//! Redactions that other servers sent (room version 3, "Handling redactions"): a redaction and its target come in any order.

use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::event::redact::redaction_target;
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::power_levels::PowerLevels;
use plexus_protocol::rules::RoomVersion;
use plexus_store::{DbError, event_key, repo};

use crate::model::current_state::{self, CurrentState};
use crate::model::room::Room;
use crate::model::state_at::StateAt;
use crate::model::state_map::StateEntry;
use crate::model::timeline_event::TimelineEvent;
use crate::model::{event_lookup, stored_events};
use crate::write::draft::{RedactionTarget, Redacts};
use crate::write::error::SendError;

/// A redaction that is on its way to the database.
pub(crate) struct PendingRedaction {
    pub target: RedactionTarget,
    /// The target's entry in the current state, if it has one.
    pub entry: Option<Arc<StateEntry>>,
    /// What the entry refers to until the redaction is committed.
    _kept: Arc<TimelineEvent>,
}

impl PendingRedaction {
    /// Redacts the target in the current state, if it is part of that.
    pub(crate) fn new(
        target: RedactionTarget,
        current: &mut Arc<CurrentState>,
        version: RoomVersion,
        server_name: &str,
    ) -> Self {
        let left = Arc::new(TimelineEvent::new(target.nid, 0, target.redacted.clone(), None, None));
        let entry = current_state::redact_in_state(current, &left, version, server_name);
        Self { target, entry, _kept: left }
    }
}

/// What a redaction redacts, when that is known and may be redacted by its sender.
pub(crate) async fn resolve_target(
    room: &Room,
    state: &StateAt,
    pdu: &Pdu,
) -> Result<Option<RedactionTarget>, DbError> {
    let Some(target) = redaction_target(pdu) else { return Ok(None) };
    let Some(event) = event_lookup::known_event(room, target).await? else { return Ok(None) };
    let may = may_redact(&current_state::power_levels(room.version, &state.state), pdu, &event.pdu);
    Ok(may.then(|| RedactionTarget::of(&event)))
}

/// The redaction of an event that came before it, if its sender may redact the event.
pub(crate) async fn early_redaction(room: &Room, pdu: &Pdu) -> Result<Option<Arc<TimelineEvent>>, DbError> {
    let (key, nid, version) = (event_key::encode(pdu.event_id()), room.nid, room.version);
    let found = room.db.read(move |tx| {
        let nids = repo::redactions::early(tx, nid, &key)?;
        if nids.is_empty() { Ok(Vec::new()) } else { stored_events::by_nids(tx, version, &nids) }
    });
    let found = found.await?;
    let view = room.view();
    // That the redaction has been redacted itself, and may not say any more what it redacts, undoes nothing.
    Ok(found.into_iter().find(|redaction| may_redact(&view.power_levels, &redaction.pdu, pdu)))
}

/// Returns what a redaction by a user of this server redacts, if the user may redact it.
pub(crate) async fn redacts(room: &Room, sender: &UserId, event_id: &EventId) -> Result<Redacts, SendError> {
    let (event_id, view) = (event_id.clone(), room.view());
    let Some(target) = event_lookup::known_event(room, &event_id).await? else {
        // An event we may yet receive: only who may redact anything may redact it.
        return if view.power_levels.user(sender) >= view.power_levels.redact() {
            Ok(Redacts { event_id, target: None })
        } else {
            Err(SendError::UnknownRedactionTarget)
        };
    };
    let pdu = &target.pdu;
    if pdu.event_type() == "m.room.create" || pdu.event_type() == "m.room.server_acl" {
        return Err(SendError::RedactionOfProtected);
    }
    if !view.power_levels.can_redact(sender, pdu.sender()) {
        return Err(SendError::RedactionForbidden);
    }
    Ok(Redacts { event_id, target: Some(RedactionTarget::of(&target)) })
}

/// Until room version 2 the authorization rules say who may; from 3 on the sender's server or its power.
fn may_redact(levels: &PowerLevels, redaction: &Pdu, target: &Pdu) -> bool {
    let by_server = target.sender().server_name() == redaction.sender().server_name();
    redaction.room_id() == target.room_id() && (by_server || levels.user(redaction.sender()) >= levels.redact())
}
