//! Builds and commits events of local users.

use std::sync::Arc;

use plexus_net::policy_hooks::AllowedEvent;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_protocol::membership::Membership;
use plexus_protocol::policy::PolicyServer;
use plexus_store::{DbError, Position};

use crate::model::room::Room;
use crate::model::timeline_event::Transaction;
use crate::write::build::{self, Built};
use crate::write::draft::{Draft, Redacts};
use crate::write::error::{PersistError, SendError};
use crate::write::graph::{self, AddOutcome};
use crate::write::pending::Append;
use crate::write::transactions::TransactionKey;
use crate::write::writer::RoomWriter;
use crate::write::{head_lock, policy, policy_hooks, redactions};

/// The number of attempts to build an event while the room changes.
const MAX_ATTEMPTS: usize = 8;

/// An event that has been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The event.
    pub event_id: EventId,
    /// Its position; `None` if it was sent before, or would have changed nothing.
    pub position: Option<Position>,
}

/// Builds and commits an event. Returns once it is durable.
pub async fn append(writer: &RoomWriter, room: &Arc<Room>, draft: &Draft) -> Result<Sent, SendError> {
    wait_for_required_state(writer, room, draft).await?;
    let policy = room.view().policy_server(&draft.event_type, draft.state_key.as_deref());
    if policy.is_some() || policy_hooks::asked_about(writer, draft).is_some() {
        return Box::pin(append_asking(writer, room, draft, policy.as_ref())).await;
    }
    for _ in 0..MAX_ATTEMPTS {
        let mut head = head_lock::lock_head(writer, room).await?;
        let mut found = None;
        if let Some(Redacts { event_id, target: None }) = &draft.redacts {
            drop(head);
            head = head_lock::settled_head(writer, room).await?;
            // The target may have arrived since it was looked up. From here on, it finds the redaction when it arrives.
            let redacts = Some(redactions::redacts(room, &draft.sender, event_id).await?);
            found = Some(Draft { redacts, ..draft.clone() });
        }
        let draft = found.as_ref().unwrap_or(draft);
        let built = build::build(writer, Some(&room.id), room.version, &head, draft).await?;
        let (pending, next) = match built {
            Built::Event(pending, next) => (*pending, next),
            Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
        };
        let event_id = pending.pdu.event_id().clone();
        let permit = writer.persister.reserve().await?;
        // Nothing waits from here to the queue: a dropped request cannot leave a head whose event is lost.
        let epoch = head.epoch;
        *head = next;
        let events = vec![pending];
        let append = Append { room: Arc::clone(room), epoch, events, creation: None, entered: None };
        let committed = permit.send(append);
        drop(head);
        match committed.await {
            Ok(Ok(position)) => return Ok(Sent { event_id, position: Some(position) }),
            Ok(Err(PersistError::Stale)) => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(DbError::Closed.into()),
        }
    }
    Err(SendError::Contended)
}

/// Builds an event on the room's head, to be sent with [`send_built`]. The room may change meanwhile.
pub(crate) async fn build_on_head(writer: &RoomWriter, room: &Room, draft: &Draft) -> Result<Built, SendError> {
    let head = head_lock::lock_head(writer, room).await?;
    build::build(writer, Some(&room.id), room.version, &head, draft).await
}

/// Sends an event that [`build_on_head`] built. Events that were sent since make it a fork.
pub(crate) async fn send_built(
    writer: &RoomWriter,
    room: &Arc<Room>,
    pdu: &Pdu,
    transaction: Option<&(TransactionKey, Transaction)>,
    is_forwarded: bool,
) -> Result<Sent, SendError> {
    match graph::add_local(writer, room, pdu, transaction, is_forwarded).await? {
        AddOutcome::InTimeline(position) => Ok(Sent { event_id: pdu.event_id().clone(), position: Some(position) }),
        AddOutcome::AlreadyAdded => Ok(Sent { event_id: pdu.event_id().clone(), position: None }),
        // The sender may not send it any more.
        AddOutcome::SoftFailed | AddOutcome::Rejected => Err(SendError::Contended),
    }
}

/// Sends an event that policy hooks are asked about first, and that the policy server, if there is one, has to sign.
/// Events that are sent meanwhile make it a fork.
async fn append_asking(
    writer: &RoomWriter,
    room: &Arc<Room>,
    draft: &Draft,
    policy_server: Option<&PolicyServer>,
) -> Result<Sent, SendError> {
    let mut pdu = match build_on_head(writer, room, draft).await? {
        Built::Event(pending, _) => pending.judged.pdu,
        Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
    };
    if let Some(hooks) = policy_hooks::asked_about(writer, draft) {
        if let AllowedEvent::WithContent(content) = policy_hooks::allowed(hooks, room, &pdu).await? {
            let draft = Draft { content: *content, ..draft.clone() };
            pdu = match build_on_head(writer, room, &draft).await? {
                Built::Event(pending, _) => pending.judged.pdu,
                Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
            };
        }
        if !policy_hooks::is_member_event(&pdu) {
            hooks.check_event_for_spam(&pdu).await?;
        }
    }
    if let Some(policy_server) = policy_server {
        pdu = policy::recommended(writer, room, policy_server, &pdu).await?;
    }
    send_built(writer, room, &pdu, draft.transaction.as_ref(), draft.is_forwarded).await
}

/// Waits for the complete state if the room has partial state and the memberships of others decide about a draft.
pub(crate) async fn wait_for_required_state(writer: &RoomWriter, room: &Room, draft: &Draft) -> Result<(), SendError> {
    let view = room.view();
    let is_joined = || view.state.membership(draft.sender.as_str()) == Some(Membership::Join);
    let about_others = draft.event_type == "m.room.member" && draft.state_key.as_deref() != Some(draft.sender.as_str());
    if view.is_partial() && (about_others || !is_joined()) { Ok(writer.rooms.full_state(room).await?) } else { Ok(()) }
}
