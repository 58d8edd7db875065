//! An event as clients are given it.

use std::sync::Arc;

use plexus_protocol::event::{Pdu, client, redact};
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::json::write_string;
use plexus_store::{EventNid, Position};

/// An event with everything a client's copy of it needs but the reader's own point of view.
///
/// It shows parts of other events: of the one it replaced, and of its redaction. What keeps it in memory has to keep up
/// with the redaction of those too (`Self::after`, [`crate::Room::state_event`]).
#[derive(Clone, Debug)]
pub struct TimelineEvent {
    /// The number the database knows the event by.
    pub nid: EventNid,
    /// Its place in the room's timeline.
    pub position: Position,
    /// The event; already redacted when it has been redacted.
    pub pdu: Pdu,
    /// For a state event what it replaced, if that can be read.
    pub replaced: Option<Box<Replaced>>,
    /// Whether it replaced a state event that cannot be read.
    pub replaced_unreadable: bool,
    /// Whether it has been redacted.
    pub is_redacted: bool,
    /// The redaction, when the event has been redacted and the redaction can be read: the bare event, without what belongs to its own place in the
    /// timeline.
    pub redacted_because: Option<Arc<TimelineEvent>>,
    /// How the sender's device named the request that made it.
    pub transaction: Option<Box<Transaction>>,
}

/// What a state event replaced.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// The number the database knows it by.
    pub nid: EventNid,
    /// `unsigned.replaces_state`
    pub event_id: EventId,
    /// `unsigned.prev_sender`
    pub sender: UserId,
    /// `unsigned.prev_content`, JSON.
    pub content_json: Arc<str>,
}

/// A redaction that has taken effect.
#[derive(Clone, Copy, Debug)]
pub struct AppliedRedaction<'a> {
    /// The event it redacts.
    pub target: EventNid,
    /// What is left of that.
    pub left: &'a Pdu,
    /// The redaction.
    pub because: &'a TimelineEvent,
}

/// How a device named a request: scope of `unsigned.transaction_id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The device that sent the event.
    pub device_id: Arc<str>,
    /// The transaction id it chose.
    pub txn_id: Arc<str>,
}

/// The reader's point of view, for [`TimelineEvent::write_client`].
#[derive(Clone, Copy, Debug)]
pub struct ClientFormat<'a> {
    /// Who reads.
    pub user: &'a UserId,
    /// The reading device: it is told its own transaction ids.
    pub device_id: Option<&'a str>,
    /// Now, unix ms, for `unsigned.age`.
    pub now_ms: u64,
    /// Whether the event carries its `room_id` (everywhere but inside /sync's rooms).
    pub room_id: bool,
}

impl Replaced {
    /// What is shown of a replaced state event.
    pub fn of(nid: EventNid, pdu: &Pdu) -> Self {
        let (event_id, sender) = (pdu.event_id().clone(), pdu.sender().clone());
        Self { nid, event_id, sender, content_json: pdu.content_json().into() }
    }
}

impl TimelineEvent {
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
        }
    }

    /// The same event after it was redacted.
    pub fn redacted(&self, because: &Self) -> Self {
        Self {
            pdu: redact::redact(&self.pdu),
            is_redacted: true,
            redacted_because: Some(Arc::new(because.bare(because.pdu.clone()))),
            ..self.clone()
        }
    }

    /// What this event has become by a redaction in its room, of itself or of an event that it shows; `None`: nothing
    /// else. The first redaction of an event counts.
    pub fn after(&self, redaction: &AppliedRedaction<'_>) -> Option<Self> {
        let AppliedRedaction { target, left, because } = *redaction;
        if self.nid == target {
            return (!self.is_redacted).then(|| self.redacted(because));
        }
        if let Some(replaced) = self.replaced.as_deref().filter(|replaced| replaced.nid == target) {
            let replaced = Replaced { content_json: left.content_json().into(), ..replaced.clone() };
            return Some(Self { replaced: Some(Box::new(replaced)), ..self.clone() });
        }
        let own = self.redacted_because.as_ref().filter(|own| own.nid == target)?;
        Some(Self { redacted_because: Some(Arc::new(own.bare(left.clone()))), ..self.clone() })
    }

    /// The event for a reader who may not see its redaction: of that is left what other servers get of an event that
    /// they may not see.
    pub(crate) fn with_redaction_hidden(&self) -> Self {
        let hidden = self.redacted_because.as_ref().map(|own| Arc::new(own.bare(redact::redact(&own.pdu))));
        Self { redacted_because: hidden, ..self.clone() }
    }

    /// The event for a reader who may not see what it replaced.
    pub(crate) fn with_replaced_hidden(&self) -> Self {
        Self { replaced: None, ..self.clone() }
    }

    fn bare(&self, pdu: Pdu) -> Self {
        Self::new(self.nid, self.position, pdu, None, None)
    }

    /// Whether a redaction of the event changes what other events show: that of a state event the one that replaces it,
    /// that of a redaction the event it redacts.
    pub(crate) fn is_shown_by_others(pdu: &Pdu) -> bool {
        pdu.state_key().is_some() || pdu.event_type() == "m.room.redaction"
    }

    /// About how much memory the event takes, in bytes.
    pub fn weight(&self) -> usize {
        // The event's JSON, its content as it was parsed, and what else was parsed out of it.
        600 + self.pdu.json().len() + self.pdu.content_json().len()
    }

    /// Appends the event's JSON for a client. `membership` is the reader's membership at the event
    /// (`unsigned.membership`), `relations` the JSON of `unsigned.m.relations`.
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

    /// The transaction id, when the reader is the device that chose it.
    fn transaction_for(&self, format: &ClientFormat<'_>) -> Option<&Transaction> {
        self.transaction
            .as_deref()
            .filter(|it| self.pdu.sender() == format.user && format.device_id == Some(&*it.device_id))
    }
}
