//! An event as clients get it.

use std::sync::Arc;

use plexus_protocol::event::{Pdu, client, redact, sticky};
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::json::write_string;
use plexus_store::{EventNid, Position};

/// An event with everything that clients get of it, except what depends on the reader.
///
/// It shows parts of other events: of the event that it replaced, and of its redaction. A holder of the event has
/// to apply redactions of those too (`Self::after`, [`crate::Room::state_event`]).
#[derive(Clone, Debug)]
pub struct TimelineEvent {
    /// The number of the event.
    pub nid: EventNid,
    /// Its position in the room's timeline; 0 if it is not in the timeline.
    pub position: Position,
    /// The event; redacted, if it has been.
    pub pdu: Pdu,
    /// The state event that it replaced, if that can be read.
    pub replaced: Option<Box<Replaced>>,
    /// Whether it replaced a state event that cannot be read.
    pub replaced_unreadable: bool,
    /// Whether it has been redacted.
    pub is_redacted: bool,
    /// The redaction of the event, if that can be read, without the parts that depend on its own place in the timeline.
    pub redacted_because: Option<Arc<TimelineEvent>>,
    /// The client's transaction that sent it.
    pub transaction: Option<Box<Transaction>>,
    /// Until when it is sticky, in Unix ms; `None` if it never was.
    pub sticky_until_ms: Option<u64>,
}

/// A state event that another has replaced.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// Its number.
    pub nid: EventNid,
    /// `unsigned.replaces_state`
    pub event_id: EventId,
    /// `unsigned.prev_sender`
    pub sender: UserId,
    /// `unsigned.prev_content`, JSON.
    pub content_json: Arc<str>,
}

/// A redaction that has been committed.
#[derive(Clone, Copy, Debug)]
pub struct AppliedRedaction<'a> {
    /// The number of the redacted event.
    pub target: EventNid,
    /// The event as the redaction leaves it.
    pub redacted: &'a Pdu,
    /// The redaction.
    pub because: &'a TimelineEvent,
}

/// The device of delayed events' transactions. Each has its delay id as the transaction id.
pub const DELAYED_EVENT_DEVICE: &str = "org.matrix.msc4140.delayed_event";

/// The type of the empty events with which servers merge forward extremities. Clients never see them.
pub const DUMMY_EVENT_TYPE: &str = "org.matrix.dummy_event";

/// A client's transaction, for `unsigned.transaction_id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The device that sent the event.
    pub device_id: Arc<str>,
    /// The transaction id that it chose.
    pub txn_id: Arc<str>,
}

/// The reader of an event, for [`TimelineEvent::write_client`].
#[derive(Clone, Copy, Debug)]
pub struct ClientFormat<'a> {
    /// The reader.
    pub user: &'a UserId,
    /// The reader's device. It gets its own transaction ids.
    pub device_id: Option<&'a str>,
    /// The present time, Unix ms, for `unsigned.age`.
    pub now_ms: u64,
    /// Whether to write `room_id`: everywhere except in the rooms of `/sync`.
    pub room_id: bool,
}

impl Replaced {
    /// Returns the parts of a replaced state event that are shown.
    pub fn of(nid: EventNid, pdu: &Pdu) -> Self {
        let (event_id, sender) = (pdu.event_id().clone(), pdu.sender().clone());
        Self { nid, event_id, sender, content_json: pdu.content_json().into() }
    }
}

impl TimelineEvent {
    /// Creates an event that is not redacted.
    pub fn new(
        nid: EventNid,
        position: Position,
        pdu: Pdu,
        replaced: Option<Box<Replaced>>,
        transaction: Option<Box<Transaction>>,
    ) -> Self {
        Self {
            nid,
            position,
            pdu,
            replaced,
            replaced_unreadable: false,
            is_redacted: false,
            redacted_because: None,
            transaction,
            sticky_until_ms: None,
        }
    }

    /// Whether the event only merges forward extremities.
    #[must_use]
    pub fn is_dummy(&self) -> bool {
        self.pdu.event_type() == DUMMY_EVENT_TYPE
    }

    /// Returns the event after its redaction.
    pub fn redacted(&self, because: &Self) -> Self {
        Self {
            pdu: redact::redact(&self.pdu),
            is_redacted: true,
            redacted_because: Some(Arc::new(because.bare(because.pdu.clone()))),
            ..self.clone()
        }
    }

    /// Returns the event after its expiry: redacted, without a redaction.
    pub(crate) fn expired(&self) -> Self {
        Self { pdu: redact::redact(&self.pdu), is_redacted: true, ..self.clone() }
    }

    /// Returns the event after a redaction of it or of an event that it shows; `None` if the redaction does not change
    /// it. The first redaction of an event counts.
    pub fn after(&self, redaction: &AppliedRedaction<'_>) -> Option<Self> {
        let AppliedRedaction { target, redacted, because } = *redaction;
        if self.nid == target {
            return (!self.is_redacted).then(|| self.redacted(because));
        }
        if let Some(replaced) = self.replaced.as_deref().filter(|replaced| replaced.nid == target) {
            let replaced = Replaced { content_json: redacted.content_json().into(), ..replaced.clone() };
            return Some(Self { replaced: Some(Box::new(replaced)), ..self.clone() });
        }
        let own = self.redacted_because.as_ref().filter(|own| own.nid == target)?;
        Some(Self { redacted_because: Some(Arc::new(own.bare(redacted.clone()))), ..self.clone() })
    }

    /// Returns the event for a reader who may not see its redaction, which is redacted itself.
    pub(crate) fn with_redaction_hidden(&self) -> Self {
        let hidden = self.redacted_because.as_ref().map(|own| Arc::new(own.bare(redact::redact(&own.pdu))));
        Self { redacted_because: hidden, ..self.clone() }
    }

    /// Returns the event for a reader who may not see the event that it replaced.
    pub(crate) fn with_replaced_hidden(&self) -> Self {
        Self { replaced: None, ..self.clone() }
    }

    fn bare(&self, pdu: Pdu) -> Self {
        Self::new(self.nid, self.position, pdu, None, None)
    }

    /// Whether other events show parts of this one: a state event is shown by its replacement, and a redaction by its
    /// target.
    pub(crate) fn is_shown_by_others(pdu: &Pdu) -> bool {
        pdu.state_key().is_some() || pdu.event_type() == "m.room.redaction"
    }

    /// Returns the approximate size of the event in bytes.
    pub fn weight(&self) -> usize {
        // The event's JSON, its parsed content, and other parsed fields.
        600 + self.pdu.json().len() + self.pdu.content_json().len()
    }

    /// Appends the event's JSON for a client. `membership` is the reader's membership at the event
    /// (`unsigned.membership`); `relations` is the JSON of `unsigned.m.relations`.
    pub fn write_client(
        &self,
        out: &mut String,
        format: &ClientFormat<'_>,
        membership: Option<&str>,
        relations: Option<&str>,
    ) {
        client::open_client_json(&self.pdu, out);
        if format.room_id {
            out.push_str(",\"room_id\":");
            write_string(self.pdu.room_id().as_str(), out);
        }
        out.push_str(",\"unsigned\":{\"age\":");
        let age = i128::from(format.now_ms) - i128::from(self.pdu.origin_server_ts());
        out.push_str(&age.to_string());
        if let Some(membership) = membership {
            out.push_str(",\"membership\":");
            write_string(membership, out);
        }
        // A redacted event is not sticky any more.
        let sticky_until_ms = self.sticky_until_ms.filter(|_| self.pdu.sticky_duration_ms().is_some());
        if let Some(remaining_ms) = sticky_until_ms.and_then(|ts| ts.checked_sub(format.now_ms)).filter(|ms| *ms > 0) {
            out.push_str(",\"");
            out.push_str(sticky::UNSIGNED_TTL);
            out.push_str("\":");
            out.push_str(&remaining_ms.to_string());
        }
        if let Some(replaced) = &self.replaced {
            out.push_str(",\"prev_content\":");
            out.push_str(&replaced.content_json);
            out.push_str(",\"prev_sender\":");
            write_string(replaced.sender.as_str(), out);
            out.push_str(",\"replaces_state\":");
            write_string(replaced.event_id.as_str(), out);
        }
        if let Some(transaction) = self.transaction_for(format) {
            out.push_str(",\"transaction_id\":");
            write_string(&transaction.txn_id, out);
        }
        if let Some(delay_id) = self.delay_id_for(format) {
            for name in ["delay_id", "org.matrix.msc4140.delay_id"] {
                out.push_str(",\"");
                out.push_str(name);
                out.push_str("\":");
                write_string(delay_id, out);
            }
        }
        if let Some(redaction) = &self.redacted_because {
            out.push_str(",\"redacted_by\":");
            write_string(redaction.pdu.event_id().as_str(), out);
            out.push_str(",\"redacted_because\":");
            let format = ClientFormat { room_id: true, ..*format };
            redaction.write_client(out, &format, None, None);
        }
        if let Some(relations) = relations {
            out.push_str(",\"m.relations\":");
            out.push_str(relations);
        }
        out.push_str("}}");
    }

    /// Returns the delay id of an event that was a delayed event of the reader's.
    fn delay_id_for(&self, format: &ClientFormat<'_>) -> Option<&str> {
        let transaction = self.transaction.as_deref().filter(|it| &*it.device_id == DELAYED_EVENT_DEVICE)?;
        (self.pdu.sender() == format.user).then_some(&*transaction.txn_id)
    }

    /// Returns the transaction, if the reader is the device that chose its id.
    fn transaction_for(&self, format: &ClientFormat<'_>) -> Option<&Transaction> {
        self.transaction
            .as_deref()
            .filter(|it| self.pdu.sender() == format.user && format.device_id == Some(&*it.device_id))
    }
}
