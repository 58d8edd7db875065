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

/// An event to be sent.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The room.
    pub room_id: RoomId,
    /// A local user.
    pub sender: UserId,
    /// The `type`.
    pub event_type: String,
    /// `Some` makes it a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: Object,
    /// For `m.room.redaction`; when `None` it is taken from `content.redacts`.
    pub redacts: Option<EventId>,
    /// Unix ms; now when `None`.
    pub origin_server_ts: Option<u64>,
    /// How the sender's device named the request: sent again, it is answered with the same event.
    pub transaction: Option<Transaction>,
}

/// Sends message and state events.
pub struct EventSender {
    rooms: Arc<Rooms>,
    writer: Arc<RoomWriter>,
}

impl EventSender {
    /// A sender into these rooms.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>) -> Self {
        Self { rooms: Arc::clone(writer.rooms()), writer }
    }

    /// The event that a request made before, if it was made before: to answer it without counting it.
    #[must_use]
    pub fn replayed(&self, room: &RoomId, sender: &UserId, transaction: &Transaction) -> Option<EventId> {
        self.writer.transactions.recent(&transactions::key(sender, room, transaction))
    }

    /// Whether the event redacts what somebody else sent, and that is known here.
    pub async fn redacts_another(&self, event: &NewEvent) -> Result<bool, DbError> {
        let (Some(redacted), Some(room)) = (redacted(event), self.rooms.get(&event.room_id).await?) else {
            return Ok(false);
        };
        let target = timeline::event(&room, &redacted).await?;
        Ok(target.is_some_and(|target| target.pdu.sender() != &event.sender))
    }

    /// Whether the event redacts what its sender has sent.
    pub async fn redacts_own(&self, event: &NewEvent) -> Result<bool, DbError> {
        let (Some(redacted), Some(room)) = (redacted(event), self.rooms.get(&event.room_id).await?) else {
            return Ok(false);
        };
        let target = timeline::event(&room, &redacted).await?;
        Ok(target.is_some_and(|target| target.pdu.sender() == &event.sender))
    }

    /// Sends an event; answers once it is durable. A state event that would change nothing is not sent: the answer is
    /// the event that set the state.
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
            // The event may have been sent before this program was started, or may have changed the answer since: a
            // repeated request gets the same event whatever has become of the room.
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
            transaction,
        };
        append::append(&self.writer, room, &draft).await
    }

    /// Finds what a redaction redacts, and whether its sender may.
    async fn redaction(&self, room: &Arc<Room>, event: &NewEvent) -> Result<Redacts, SendError> {
        let event_id = redacted(event).ok_or(SendError::RedactsNothing)?;
        redactions::redacts(room, &event.sender, &event_id).await
    }
}

/// What a redaction redacts.
fn redacted(event: &NewEvent) -> Option<EventId> {
    if !is_redaction(&event.event_type) {
        return None;
    }
    event.redacts.clone().or_else(|| event.content.get_str("redacts")?.parse().ok())
}
