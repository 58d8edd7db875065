//! Builds, signs and checks events of local users.

use std::sync::Arc;

use plexus_protocol::auth;
use plexus_protocol::event::build::{self, PduBuilder};
use plexus_protocol::event::{Pdu, auth_types, sticky};
use plexus_protocol::id::{EventId, RoomId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::events::Verdict;
use plexus_store::{DbError, EventNid};

use crate::model::current_state::{self, StateChange};
use crate::model::graph_tip::{Extremity, Tip};
use crate::model::head::Head;
use crate::model::room::Room;
use crate::model::state_at::snapshot_after;
use crate::model::state_map::{StateEntry, shared_type};
use crate::model::timeline_event::{Replaced, TimelineEvent};
use crate::write::auth_state::{self, AuthState};
use crate::write::content;
use crate::write::draft::Draft;
use crate::write::error::SendError;
use crate::write::pending::{Forwarding, JudgedEvent, PendingEvent, PendingSnapshot};
use crate::write::redactions::PendingRedaction;
use crate::write::writer::RoomWriter;

/// The maximum number of prev events (<https://spec.matrix.org/v1.19/server-server-api/#pdus>). Further forward
/// extremities are left to later events.
const MAX_PREV_EVENTS: usize = 20;
/// The maximum depth: the greatest integer of canonical JSON, which other servers may have reached.
pub const MAX_DEPTH: u64 = (1 << 53) - 1;

/// The result of building a draft.
pub(crate) enum Built {
    /// A new event, and the head after it.
    Event(Box<PendingEvent>, Head),
    /// The state has this value already; it was set by this event.
    Unchanged(EventId),
}

/// Builds an event on `head`, and checks it by the authorization rules. `room_id` is `None` for a create event that
/// gives the room its id.
pub(crate) async fn build(
    writer: &RoomWriter,
    room_id: Option<&RoomId>,
    version: RoomVersion,
    head: &Head,
    draft: &Draft,
) -> Result<Built, SendError> {
    content::check(&writer.server_name, room_id, head.tip.extremities.is_empty(), draft)?;
    let replaced = replaced(writer, version, head, draft).await?;
    if let Some((_, Some(before))) = &replaced
        && before.sender() == &draft.sender
        && before.content() == &draft.content
    {
        return Ok(Built::Unchanged(before.event_id().clone()));
    }
    let (builder, auth_state) = compose(writer, room_id, version, head, draft).await?;
    let mut event = builder.into_template(version);
    if let Some(duration_ms) = draft.sticky_duration_ms {
        event.insert(sticky::MEMBER, sticky::member(duration_ms));
    }
    let pdu = build::finish(event, version, &writer.signing_key, &writer.server_name)?;
    auth::check(version.rules(), &pdu, &auth_state.lookup())?;
    let nid = writer.nids.take(2).await?;
    pending(writer, version, head, draft, nid, pdu, replaced)
}

/// Returns the template of an event that a user of another server may complete and sign (`GET /make_join`,
/// `/make_leave`, `/make_knock`). It is checked by the authorization rules.
///
/// # Errors
/// See [`SendError`].
pub async fn template(writer: &RoomWriter, room: &Room, draft: &Draft) -> Result<Object, SendError> {
    let head = Head::of(&room.view(), 0);
    let (builder, auth_state) = compose(writer, Some(&room.id), room.version, &head, draft).await?;
    let pdu = builder.clone().build(room.version, &writer.signing_key, &writer.server_name)?;
    auth::check(room.version.rules(), &pdu, &auth_state.lookup())?;
    Ok(builder.into_template(room.version))
}

/// Returns the builder of the event after `head`, and the state that its authorization depends on.
async fn compose(
    writer: &RoomWriter,
    room_id: Option<&RoomId>,
    version: RoomVersion,
    head: &Head,
    draft: &Draft,
) -> Result<(PduBuilder, AuthState), SendError> {
    let keys = auth_types::auth_event_keys(
        version.rules(),
        &draft.event_type,
        &draft.sender,
        draft.state_key.as_deref(),
        &draft.content,
    );
    let auth_state = auth_state::auth_state_of(&writer.rooms, version, &head.current.state, keys).await?;
    let builder = PduBuilder {
        room_id: room_id.cloned(),
        sender: draft.sender.clone(),
        event_type: draft.event_type.clone(),
        state_key: draft.state_key.clone(),
        content: draft.content.clone(),
        unsigned: None,
        redacts: draft.redacts.as_ref().map(|redacts| redacts.event_id.clone()),
        prev_events: prev_events(head),
        auth_events: auth_state.auth_events.clone(),
        depth: (head.tip.depth + 1).min(MAX_DEPTH),
        origin_server_ts: draft.origin_server_ts.unwrap_or_else(|| writer.clock.now_ms()),
    };
    Ok((builder, auth_state))
}

fn pending(
    writer: &RoomWriter,
    version: RoomVersion,
    head: &Head,
    draft: &Draft,
    nid: EventNid,
    pdu: Pdu,
    replaced: Option<(EventNid, Option<Pdu>)>,
) -> Result<Built, SendError> {
    let mut next = head.clone();
    next.tip = Tip { extremities: extremities_after(head, nid, &pdu), depth: pdu.depth(), snapshot: head.tip.snapshot };
    next.redacting |= draft.redacts.is_some();
    let server_name = writer.server_name.as_str();
    let target = draft.redacts.as_ref().and_then(|redacts| redacts.target.clone());
    let redacts = target.map(|target| PendingRedaction::new(target, &mut next.current, version, server_name));
    let mut event = None;
    let (mut changes, mut snapshots) = (Vec::new(), Vec::new());
    if let Some(state_key) = pdu.state_key() {
        let event_type = shared_type(&head.current.state, pdu.event_type());
        let kept = Arc::new(TimelineEvent::new(nid, 0, pdu.clone(), None, None));
        let entry = Arc::new(StateEntry::of(event_type, state_key.into(), &kept));
        let own = (Arc::clone(&entry.event_type), Arc::clone(&entry.state_key), nid);
        let change = StateChange::set(entry, replaced.as_ref().map(|(nid, _)| *nid));
        next.tip.snapshot = head.tip.snapshot.child(snapshot_after(nid), 1);
        next.current = Arc::new(current_state::with_changes(&next.current, [&change], version, server_name));
        snapshots =
            vec![PendingSnapshot { parent: head.tip.snapshot, snapshot: next.tip.snapshot, changes: vec![own] }];
        changes = vec![change];
        event = Some(kept);
    }
    let judged = JudgedEvent {
        snapshot_before: Some(head.tip.snapshot),
        snapshots,
        ..JudgedEvent::new(nid, pdu, false, Verdict::Accepted)?
    };
    let pending = PendingEvent {
        changes,
        replaced: replaced.and_then(|(nid, before)| Some(Replaced::of(nid, &before?))),
        _kept: event,
        transaction: draft.transaction.clone(),
        redacts,
        forwarding: if draft.is_forwarded { Forwarding::Own } else { Forwarding::No },
        ..PendingEvent::new(judged, &next)
    };
    Ok(Built::Event(Box::new(pending), next))
}

/// Returns the state event that the draft would replace, without its content if that cannot be read.
async fn replaced(
    writer: &RoomWriter,
    version: RoomVersion,
    head: &Head,
    draft: &Draft,
) -> Result<Option<(EventNid, Option<Pdu>)>, DbError> {
    let entry = draft.state_key.as_ref().and_then(|key| head.current.state.get(&draft.event_type, key));
    match entry {
        None => Ok(None),
        Some(entry) => Ok(Some((entry.nid, writer.rooms.readable_entry_pdu(version, entry).await?))),
    }
}

/// Returns the forward extremities after an event: itself, and those that it does not name.
fn extremities_after(head: &Head, nid: EventNid, pdu: &Pdu) -> Arc<[Extremity]> {
    let own = Extremity { nid, event_id: pdu.event_id().clone() };
    if head.tip.extremities.len() <= MAX_PREV_EVENTS {
        return Arc::new([own]);
    }
    head.tip.extremities.iter().skip(MAX_PREV_EVENTS).cloned().chain([own]).collect()
}

fn prev_events(head: &Head) -> Vec<EventId> {
    head.tip.extremities.iter().take(MAX_PREV_EVENTS).map(|extremity| extremity.event_id.clone()).collect()
}
