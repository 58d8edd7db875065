//! What policy hooks are asked about events. Never while a room's head is locked.

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream};
use plexus_base::config::PolicyCallback;
use plexus_net::PolicyHooks;
use plexus_net::policy_hooks::{AllowedEvent, RoomState};
use plexus_protocol::event::{Pdu, redact};
use plexus_protocol::id::EventId;
use plexus_store::DbError;

use crate::model::room::Room;
use crate::model::timeline_event::DUMMY_EVENT_TYPE;
use crate::write::draft::Draft;
use crate::write::error::SendError;
use crate::write::writer::RoomWriter;

/// The most state events that a hook is sent with an event.
const MAX_STATE_EVENTS: usize = 1_000;
/// The number of received events that hooks are asked about at the same time.
const MAX_ASKED_AT_ONCE: usize = 16;

/// Received events, after hooks were asked about them.
pub struct JudgedByHooks {
    /// The events. Those that a hook refuses are redacted, to save space on the disk.
    pub pdus: Vec<Pdu>,
    /// The ids of the events that a hook refuses.
    pub refused: HashSet<EventId>,
}

/// Returns the hooks if they are asked about an event of a local user. They are not asked about those that only join
/// forward extremities.
pub(crate) fn asked_about<'w>(writer: &'w RoomWriter, draft: &Draft) -> Option<&'w PolicyHooks> {
    let hooks = writer.policy_hooks.as_deref()?;
    let is_asked = hooks.asks(PolicyCallback::CheckEventAllowed)
        || (hooks.asks(PolicyCallback::CheckEventForSpam)
            && (draft.event_type != "m.room.member" || draft.state_key.is_none()));
    (is_asked && draft.event_type != DUMMY_EVENT_TYPE).then_some(hooks)
}

/// Whether an event sets a membership.
pub(crate) fn is_member_event(pdu: &Pdu) -> bool {
    pdu.event_type() == "m.room.member" && pdu.state_key().is_some()
}

/// Asks whether an event of a local user is allowed in the current state of its room.
pub(crate) async fn allowed(hooks: &PolicyHooks, room: &Room, pdu: &Pdu) -> Result<AllowedEvent, SendError> {
    if !hooks.asks(PolicyCallback::CheckEventAllowed) {
        return Ok(AllowedEvent::Unchanged);
    }
    let state = state_for(room, Some(pdu)).await?;
    Ok(hooks.check_event_allowed(pdu, &state).await?)
}

/// Returns the state that hooks are sent: everything but members, and the members that `pdu` is by and about.
///
/// # Errors
/// When the database fails.
pub async fn state_for(room: &Room, pdu: Option<&Pdu>) -> Result<RoomState, DbError> {
    let view = room.view();
    let mut state = RoomState::new();
    let is_about = |user: &str| pdu.is_some_and(|pdu| pdu.sender().as_str() == user || pdu.state_key() == Some(user));
    let shown = view.state.iter().filter(|it| &*it.event_type != "m.room.member" || is_about(&it.state_key));
    for entry in shown.take(MAX_STATE_EVENTS) {
        if let Some(event) = room.readable_state_event(entry).await? {
            state.push(event.pdu.clone());
        }
    }
    Ok(state)
}

/// Asks about events of other servers.
pub async fn judged(writer: &RoomWriter, pdus: &[Pdu]) -> Option<JudgedByHooks> {
    let hooks = writer.policy_hooks.as_deref().filter(|hooks| hooks.asks(PolicyCallback::CheckEventForSpam))?;
    let own = writer.server_name.as_str();
    let judged = stream::iter(pdus.iter().cloned()).map(async |pdu| {
        let is_own = pdu.sender().server_name() == own;
        let refused = !is_own && hooks.check_event_for_spam(&pdu).await.is_err();
        if refused {
            tracing::info!(event = %pdu.event_id(), room = %pdu.room_id(), "soft-failed: a policy hook refuses it");
        }
        (if refused { redact::redact(&pdu) } else { pdu }, refused)
    });
    let judged: Vec<(Pdu, bool)> = judged.buffered(MAX_ASKED_AT_ONCE).collect().await;
    let refused = judged.iter().filter(|(_, refused)| *refused).map(|(pdu, _)| pdu.event_id().clone()).collect();
    Some(JudgedByHooks { pdus: judged.into_iter().map(|(pdu, _)| pdu).collect(), refused })
}
