//! One transaction.

use plexus_protocol::json::{NotPortable, Object, ObjectWriter};
use plexus_store::Position;
use plexus_sync::to_device::edu;
use sha2::{Digest as _, Sha256};

use super::content::LogContent;
use super::ephemeral::{self, Ephemeral, Space};
use super::refusals::Piece;
use crate::outbox::Content as _;

/// The most events, and the most EDUs, of a transaction
/// (<https://spec.matrix.org/v1.19/server-server-api/#transactions>).
const MAX_PDUS: usize = 50;
const MAX_EDUS: usize = 100;
/// How many of the EDUs may be messages to devices.
pub(super) const MAX_TO_DEVICE: usize = 50;
/// The most bytes of events and EDUs in a transaction. Synapse accepts 13 MB, but nginx in front of it 1 MiB unless
/// configured otherwise; and little should be sent again after a failure. A piece that is larger by itself is sent
/// alone.
const MAX_TRANSACTION_BYTES: usize = 1_000_000;
/// How many of these bytes may be messages to devices: any number of them leaves room for events.
pub(super) const MAX_TO_DEVICE_BYTES: usize = MAX_TRANSACTION_BYTES / 2;
/// The most pieces that one transaction can take.
pub(super) const MAX_PIECES: usize = MAX_PDUS + MAX_EDUS;

/// A transaction.
pub(super) struct Transaction {
    pub txn_id: String,
    pdus: Vec<String>,
    edus: Vec<String>,
    /// The size of the events and EDUs.
    bytes: usize,
    /// The pieces that it is made of, in order.
    pub pieces: Vec<Piece>,
    /// The server has everything up to here, once it has this.
    pub cursor: Position,
    /// The position of its last message to a device.
    pub to_device: Option<Position>,
    /// More messages to devices wait.
    pub more_to_device: bool,
    /// Ephemeral EDUs that did not fit.
    pub unsent: Vec<Ephemeral>,
}

impl Transaction {
    /// A transaction without anything in it: whether a server accepts it shows whether it accepts any.
    pub(super) fn empty(txn_id: String) -> Self {
        Self {
            txn_id,
            pdus: Vec::new(),
            edus: Vec::new(),
            bytes: 0,
            pieces: Vec::new(),
            cursor: 0,
            to_device: None,
            more_to_device: false,
            unsent: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pdus.is_empty() && self.edus.is_empty()
    }

    /// Returns the request's body.
    pub(super) fn body(&self, origin: &str, now_ms: u64) -> String {
        let mut body = String::with_capacity(self.bytes + 256);
        let mut members = ObjectWriter::open(&mut body);
        members.array("edus", self.edus.iter().map(String::as_str));
        members.string("origin", origin);
        members.number("origin_server_ts", now_ms);
        members.array("pdus", self.pdus.iter().map(String::as_str));
        members.close();
        body
    }

    fn push_edu(&mut self, edu: String) {
        self.bytes += edu.len();
        self.edus.push(edu);
    }

    /// Adds messages to devices.
    pub(super) fn push_messages(&mut self, messages: &[(Position, String)]) {
        for (position, content) in messages {
            let edu = edu("m.direct_to_device", content);
            self.pieces.push(Piece::ToDevice { position: *position, bytes: edu.len() });
            self.push_edu(edu);
            self.to_device = Some(*position);
        }
    }

    /// Adds what the log has for a server that has everything up to `cursor`, as long as it fits and there are fewer
    /// than `max_pieces`.
    pub(super) fn push_log(&mut self, due: &[(Position, LogContent)], cursor: Position, max_pieces: usize) {
        let mut reached = cursor;
        for (position, content) in due {
            let fits = self.pieces.len() < max_pieces
                && self.pdus.len() + content.pdus() <= MAX_PDUS
                && self.edus.len() + content.edus() <= MAX_EDUS
                && (self.bytes + content.bytes() <= MAX_TRANSACTION_BYTES || self.pieces.is_empty());
            if !fits {
                self.cursor = reached;
                return;
            }
            match content {
                LogContent::Pdu(pdu) => {
                    self.bytes += pdu.json().len();
                    self.pdus.push(pdu.json().to_owned());
                    self.pieces.push(Piece::Pdu(pdu.clone()));
                }
                LogContent::Edus(edus) => {
                    let bytes = edus.iter().map(String::len).sum();
                    self.pieces.push(Piece::Devices { position: *position, bytes });
                    edus.iter().for_each(|edu| self.push_edu(edu.clone()));
                }
            }
            reached = *position;
        }
    }

    /// Adds as many ephemeral EDUs as fit.
    pub(super) fn push_ephemeral(&mut self, mut pending: Vec<Ephemeral>, max_pieces: usize) {
        let later = pending.split_off(pending.len().min(max_pieces.saturating_sub(self.pieces.len())));
        let space = Space {
            edus: MAX_EDUS.saturating_sub(self.edus.len()),
            bytes: MAX_TRANSACTION_BYTES.saturating_sub(self.bytes),
        };
        let packed = ephemeral::edus(pending, space);
        packed.edus.into_iter().for_each(|edu| self.push_edu(edu));
        let piece = |one: &Ephemeral| Piece::Ephemeral { edu_type: one.edu_type(), bytes: one.bytes() };
        self.pieces.extend(packed.sent.iter().map(piece));
        self.unsent = packed.unsent;
        self.unsent.extend(later);
    }

    /// Returns an id that depends on nothing but the content: a server that has the content already, from before a
    /// restart of this one, recognises it.
    pub(super) fn content_id(&self) -> String {
        let mut hash = Sha256::new();
        for text in self.pdus.iter().chain(&self.edus) {
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        }
        hash.finalize().iter().take(16).fold(String::new(), |id, byte| format!("{id}{byte:02x}"))
    }
}

/// Returns a queued message if it can be sent, otherwise why not, and its length. Messages that were queued before they
/// were checked may be anything.
pub(super) fn readable(content: Option<String>) -> Result<String, (String, usize)> {
    let content = content.ok_or(("it is not text".to_owned(), 0))?;
    let checked = Object::parse(&content).map_err(NotPortable::from).and_then(|object| object.check_readable());
    match checked {
        Ok(()) => Ok(content),
        Err(error) => Err((error.to_string(), content.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(cursor: Position) -> Transaction {
        Transaction { cursor, ..Transaction::empty(String::new()) }
    }

    fn devices(position: Position, bytes: usize) -> (Position, LogContent) {
        (position, LogContent::Edus(vec!["x".repeat(bytes)].into()))
    }

    #[test]
    fn a_transaction_has_a_bound_in_bytes_and_the_rest_comes_in_order() {
        let due: Vec<_> = (1..=40).map(|position| devices(position, 60_000)).collect();
        let (mut cursor, mut positions) = (0, Vec::new());
        while cursor < 40 {
            let mut transaction = empty(40);
            let rest: Vec<_> = due.iter().filter(|(position, _)| *position > cursor).cloned().collect();
            transaction.push_log(&rest, cursor, usize::MAX);
            assert!(transaction.body("here", 1).len() < MAX_TRANSACTION_BYTES + 1_000);
            positions.extend(transaction.pieces.iter().map(|piece| match piece {
                Piece::Devices { position, .. } => *position,
                other => panic!("{other:?}"),
            }));
            assert!(transaction.cursor > cursor);
            cursor = transaction.cursor;
        }
        assert_eq!(positions, (1..=40).collect::<Vec<_>>());
    }

    #[test]
    fn a_piece_that_is_larger_is_sent_alone() {
        let mut transaction = empty(2);
        transaction.push_log(&[devices(1, MAX_TRANSACTION_BYTES + 1), devices(2, 1)], 0, usize::MAX);
        assert_eq!((transaction.pieces.len(), transaction.cursor), (1, 1));
        transaction.push_ephemeral(vec![Ephemeral::Typing { key: "k".into(), content: "{}".into() }], usize::MAX);
        assert_eq!((transaction.pieces.len(), transaction.unsent.len()), (1, 1));
    }

    #[test]
    fn a_limit_counts_pieces_of_every_kind() {
        let build = |limit: usize| {
            let mut transaction = empty(9);
            let messages: Vec<_> = (1..=3).take(limit).map(|position| (position, "{}".to_owned())).collect();
            transaction.push_messages(&messages);
            transaction.push_log(&[devices(7, 2), devices(9, 2)], 5, limit);
            let typing = |key: &str| Ephemeral::Typing { key: key.into(), content: "{}".into() };
            transaction.push_ephemeral(vec![typing("a"), typing("b")], limit);
            (transaction.pieces.len(), transaction.to_device, transaction.cursor, transaction.unsent.len())
        };
        assert_eq!(build(1), (1, Some(1), 5, 2));
        assert_eq!(build(3), (3, Some(3), 5, 2));
        assert_eq!(build(4), (4, Some(3), 7, 2));
        assert_eq!(build(6), (6, Some(3), 9, 1));
        assert_eq!(build(usize::MAX), (7, Some(3), 9, 0));
    }

    #[test]
    fn other_content_has_another_id() {
        let id = |edus: &[&str]| {
            let mut transaction = empty(0);
            edus.iter().for_each(|edu| transaction.push_edu((*edu).to_owned()));
            transaction.content_id()
        };
        assert_eq!(id(&["ab", "c"]), id(&["ab", "c"]));
        assert_ne!(id(&["ab", "c"]), id(&["a", "bc"]));
        assert_ne!(id(&["ab", "c"]), id(&["ab"]));
    }

    #[test]
    fn messages_queued_unchecked_are_found() {
        assert!(readable(Some(r#"{"a":1.5}"#.to_owned())).is_ok());
        for bad in ["", "{", "[]", r#"{"a":1e999}"#, &format!(r#"{{"a":{}{}}}"#, "[".repeat(600), "]".repeat(600))] {
            assert!(readable(Some(bad.to_owned())).is_err(), "{bad}");
        }
        assert!(readable(None).is_err());
    }
}
