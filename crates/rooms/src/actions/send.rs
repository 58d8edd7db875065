//! Sending events on behalf of local users.

mod checks;

use std::sync::Arc;

use plexus_protocol::event::redact::is_redaction;
use plexus_protocol::id::{EventId, RoomId, UserId};
use plexus_protocol::json::Object;
use plexus_store::DbError;

use crate::model::room::Room;
use crate::model::rooms::Rooms;
use crate::model::timeline_event::Transaction;
use crate::read::timeline;
use crate::write::append::{self, Sent};
use crate::write::draft::{Draft, Redacts};
use crate::write::error::SendError;
use crate::write::redactions;
use crate::write::transactions::{self, Begin, TransactionKey};
use crate::write::writer::RoomWriter;

pub(crate) use checks::aliases_of;

/// An event to be sent, as its sender wants it.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The room to send it to.
    pub room_id: RoomId,
    /// The sender, a local user.
    pub sender: UserId,
    /// The `type`.
    pub event_type: String,
    /// The state key; `Some` makes it a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: Object,
    /// The target of an `m.room.redaction`; if `None`, it is taken from `content.redacts`.
    pub redacts: Option<EventId>,
    /// Unix ms; now if `None`.
    pub origin_server_ts: Option<u64>,
    /// Makes the event sticky for so many ms.
    pub sticky_duration_ms: Option<u64>,
    /// The client's transaction. A repeated transaction returns the same event.
    pub transaction: Option<Transaction>,
}

/// Sends message and state events.
pub struct EventSender {
    rooms: Arc<Rooms>,
    writer: Arc<RoomWriter>,
}

impl EventSender {
    /// Creates a sender of events.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>) -> Self {
        Self { rooms: Arc::clone(writer.rooms()), writer }
    }

    /// Returns the event of a recent request with the same transaction id, so that the repeated request need not be
    /// counted.
    #[must_use]
    pub fn replayed(&self, room: &RoomId, sender: &UserId, transaction: &Transaction) -> Option<EventId> {
        self.writer.transactions.recent(&transactions::key(sender, room, transaction))
    }

    /// Returns the event that the same request has sent before, also one that memory does not have any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sent_before(
        &self,
        room: &RoomId,
        sender: &UserId,
        transaction: &Transaction,
    ) -> Result<Option<EventId>, DbError> {
        let Some(version) = self.rooms.get(room).await?.map(|room| room.version) else { return Ok(None) };
        let scope = transactions::key(sender, room, transaction).scope;
        self.writer.transactions.find(scope, Arc::clone(&transaction.txn_id), version).await
    }

    /// Whether the event redacts a stored event of another user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn redacts_another(&self, event: &NewEvent) -> Result<bool, DbError> {
        let (Some(redacted), Some(room)) = (redacted(event), self.rooms.get(&event.room_id).await?) else {
            return Ok(false);
        };
        let target = timeline::event(&room, &redacted).await?;
        Ok(target.is_some_and(|target| target.pdu.sender() != &event.sender))
    }

    /// Whether the event redacts a stored event of its sender.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn redacts_own(&self, event: &NewEvent) -> Result<bool, DbError> {
        let (Some(redacted), Some(room)) = (redacted(event), self.rooms.get(&event.room_id).await?) else {
            return Ok(false);
        };
        let target = timeline::event(&room, &redacted).await?;
        Ok(target.is_some_and(|target| target.pdu.sender() == &event.sender))
    }

    /// Sends an event. Returns once it is durable. A state event that would change nothing is not sent: the event that
    /// set the state is returned.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, event: NewEvent) -> Result<Sent, SendError> {
        let room = self.rooms.get(&event.room_id).await?.ok_or(SendError::UnknownRoom)?;
        let Some(transaction) = event.transaction.clone() else {
            return self.send_once(&room, event, None).await;
        };
        let key = transactions::key(&event.sender, &event.room_id, &transaction);
        let running = match self.writer.transactions.begin(key).await {
            Begin::Replay(event_id) => return Ok(Sent { event_id, position: None }),
            Begin::First(running) => running,
        };
        let txn_id = Arc::clone(&transaction.txn_id);
        let sent = match self.send_once(&room, event, Some((key, transaction))).await {
            Ok(sent) => sent,
            // The event may have been sent before this process started, and the room may have changed since. A repeated
            // request returns the same event all the same.
            Err(error) => match self.writer.transactions.find(key.scope, txn_id, room.version).await? {
                Some(event_id) => Sent { event_id, position: None },
                None => return Err(error),
            },
        };
        running.finish(&sent.event_id);
        Ok(sent)
    }

    async fn send_once(
        &self,
        room: &Arc<Room>,
        event: NewEvent,
        transaction: Option<(TransactionKey, Transaction)>,
    ) -> Result<Sent, SendError> {
        if event.event_type == "m.room.member" && event.state_key.is_some() {
            return Err(SendError::Membership);
        }
        let redacts = if is_redaction(&event.event_type) { Some(self.redaction(room, &event).await?) } else { None };
        match (&*event.event_type, event.state_key.as_deref()) {
            ("m.room.canonical_alias", Some("")) => checks::canonical_alias(&self.writer, room, &event).await?,
            _ => checks::relation(&self.rooms, room, &event).await?,
        }
        let draft = Draft {
            sender: event.sender,
            event_type: event.event_type,
            state_key: event.state_key,
            content: event.content,
            redacts,
            origin_server_ts: event.origin_server_ts,
            sticky_duration_ms: event.sticky_duration_ms,
            transaction,
            is_forwarded: true,
        };
        append::append(&self.writer, room, &draft).await
    }

    /// Returns the target of a redaction, if the sender may redact it.
    async fn redaction(&self, room: &Arc<Room>, event: &NewEvent) -> Result<Redacts, SendError> {
        let event_id = redacted(event).ok_or(SendError::RedactsNothing)?;
        redactions::redacts(room, &event.sender, &event_id).await
    }
}

/// Returns the event id that a redaction names.
fn redacted(event: &NewEvent) -> Option<EventId> {
    if !is_redaction(&event.event_type) {
        return None;
    }
    event.redacts.clone().or_else(|| event.content.get_str("redacts")?.parse().ok())
}
