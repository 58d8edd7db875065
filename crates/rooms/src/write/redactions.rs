//! Redactions (<https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions>). A redaction and its target may arrive in
//! any order.

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

/// A redaction that is about to be committed.
pub(crate) struct PendingRedaction {
    /// The event to be redacted.
    pub target: RedactionTarget,
    /// The target's entry in the current state, if it has one.
    pub entry: Option<Arc<StateEntry>>,
    /// `entry` holds this event weakly until the redaction is committed.
    _kept: Arc<TimelineEvent>,
}

impl PendingRedaction {
    /// Redacts the target in the current state, if it is in it.
    pub(crate) fn new(
        target: RedactionTarget,
        current: &mut Arc<CurrentState>,
        version: RoomVersion,
        server_name: &str,
    ) -> Self {
        let redacted = Arc::new(TimelineEvent::new(target.nid, 0, target.redacted.clone(), None, None));
        let entry = current_state::redact_in_state(current, &redacted, version, server_name);
        Self { target, entry, _kept: redacted }
    }
}

/// Returns the target of a redaction, if it is stored and the sender may redact it.
pub(crate) async fn resolve_target(
    room: &Room,
    state: &StateAt,
    pdu: &Pdu,
) -> Result<Option<RedactionTarget>, DbError> {
    let Some(target) = redaction_target(pdu) else { return Ok(None) };
    let Some(event) = event_lookup::event_of_room(room, target).await? else { return Ok(None) };
    let may = may_redact(&current_state::power_levels(room.version, &state.state), pdu, &event.pdu);
    Ok(may.then(|| RedactionTarget::of(&event)))
}

/// Returns the redaction of an event that arrived before it, if its sender may redact the event.
pub(crate) async fn early_redaction(room: &Room, pdu: &Pdu) -> Result<Option<Arc<TimelineEvent>>, DbError> {
    let (key, nid, version) = (event_key::encode(pdu.event_id()), room.nid, room.version);
    let found = room.db.read(move |tx| {
        let nids = repo::redactions::early(tx, nid, &key)?;
        if nids.is_empty() { Ok(Vec::new()) } else { stored_events::by_nids(tx, version, &nids) }
    });
    let found = found.await?;
    let view = room.view();
    // A redaction that was redacted itself, and may not name its target any more, still counts.
    Ok(found.into_iter().find(|redaction| may_redact(&view.power_levels, &redaction.pdu, pdu)))
}

/// Returns the target of a redaction by a user of this server.
///
/// # Errors
/// When the user may not redact it.
pub(crate) async fn redacts(room: &Room, sender: &UserId, event_id: &EventId) -> Result<Redacts, SendError> {
    let (event_id, view) = (event_id.clone(), room.view());
    let Some(target) = event_lookup::event_of_room(room, &event_id).await? else {
        // The event may arrive later: only users that may redact any event may redact it.
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

/// Whether the sender of a redaction may redact an event. Up to room version 2 the authorization rules decide; since
/// version 3, the sender's server or power level.
fn may_redact(levels: &PowerLevels, redaction: &Pdu, target: &Pdu) -> bool {
    let by_server = target.sender().server_name() == redaction.sender().server_name();
    redaction.room_id() == target.room_id() && (by_server || levels.user(redaction.sender()) >= levels.redact())
}
