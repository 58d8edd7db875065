//! One transaction: what a server gets next.

use std::sync::atomic::Ordering;

use plexus_protocol::id::ServerName;
use plexus_protocol::json::{NotPortable, Object};
use plexus_store::repo::federation_out::ToDevice;
use plexus_store::{DbError, Position, Tx, repo};
use sha2::{Digest as _, Sha256};

use super::FederationOut;
use super::book::Turn;
use super::ephemeral::{self, Ephemeral, Space};
use super::recent::What;
use super::refusals::Piece;
use plexus_sync::json::{Members, push_array};
use plexus_sync::to_device::edu;

/// The most events and EDUs of a transaction (server-server API, "Transactions").
const MAX_PDUS: usize = 50;
const MAX_EDUS: usize = 100;
/// How many of the EDUs may be messages to devices.
const MAX_TO_DEVICE: usize = 50;
/// The most bytes of events and EDUs in a transaction. Synapse takes 13 MB, but nginx in front of it 1 MiB unless it is
/// told otherwise; and what is sent again after a failure should not be much. A piece that is larger by itself is sent
/// alone.
const MAX_TRANSACTION_BYTES: usize = 1_000_000;
/// How many of these bytes may be messages to devices: as long as they wait there is still room for events.
const MAX_TO_DEVICE_BYTES: usize = MAX_TRANSACTION_BYTES / 2;
/// The most pieces that one transaction can take. Who was away and has missed more gets only the newest event of each room,
/// and fetches the rest itself.
pub(super) const MOST: usize = MAX_PDUS + MAX_EDUS;

/// A transaction.
pub(super) struct Batch {
    pub txn_id: String,
    pdus: Vec<String>,
    edus: Vec<String>,
    /// How large events and EDUs are together.
    bytes: usize,
    /// What it is made of, in order.
    pub pieces: Vec<Piece>,
    /// Once it is there, the server has got everything up to here.
    pub cursor: Position,
    /// Of the messages to devices in it, the last.
    pub to_device: Option<Position>,
    pub more_to_device: bool,
    /// Ephemeral EDUs for which there was no room.
    pub unsent: Vec<Ephemeral>,
}

impl Batch {
    /// A transaction without anything in it, for a server that has everything up to `cursor`.
    fn empty(cursor: Position) -> Self {
        Self {
            txn_id: String::new(),
            pdus: Vec::new(),
            edus: Vec::new(),
            bytes: 0,
            pieces: Vec::new(),
            cursor,
            to_device: None,
            more_to_device: false,
            unsent: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.pdus.is_empty() && self.edus.is_empty()
    }

    /// The request's body.
    pub fn body(&self, origin: &str, now_ms: u64) -> String {
        let mut body = String::with_capacity(self.bytes + 256);
        let mut members = Members::open(&mut body);
        push_array(members.key("edus"), self.edus.iter().map(String::as_str));
        members.text("origin", origin);
        members.number("origin_server_ts", now_ms);
        push_array(members.key("pdus"), self.pdus.iter().map(String::as_str));
        members.close();
        body
    }

    fn push_edu(&mut self, edu: String) {
        self.bytes += edu.len();
        self.edus.push(edu);
    }

    fn push_messages(&mut self, messages: Vec<(Position, String)>) {
        for (position, content) in messages {
            let edu = edu("m.direct_to_device", &content);
            self.pieces.push(Piece::ToDevice { position, bytes: edu.len() });
            self.push_edu(edu);
            self.to_device = Some(position);
        }
    }

    /// Adds what the log has for a server that has everything up to `cursor`, as long as it fits and there are fewer
    /// than
    /// `most_pieces`.
    fn push_log(&mut self, due: Vec<(Position, What)>, cursor: Position, most_pieces: usize) {
        let mut reached = cursor;
        for (position, what) in due {
            let fits = self.pieces.len() < most_pieces
                && self.pdus.len() + what.pdus() <= MAX_PDUS
                && self.edus.len() + what.edus() <= MAX_EDUS
                && (self.bytes + what.bytes() <= MAX_TRANSACTION_BYTES || self.pieces.is_empty());
            if !fits {
                self.cursor = reached;
                return;
            }
            match what {
                What::Pdu(pdu) => {
                    self.bytes += pdu.json().len();
                    self.pdus.push(pdu.json().to_owned());
                    self.pieces.push(Piece::Pdu(pdu));
                }
                What::Edus(edus) => {
                    self.pieces.push(Piece::Devices { position, bytes: edus.iter().map(String::len).sum() });
                    edus.iter().for_each(|edu| self.push_edu(edu.clone()));
                }
            }
            reached = position;
        }
    }

    fn push_ephemeral(&mut self, mut pending: Vec<Ephemeral>, most_pieces: usize) {
        let later = pending.split_off(pending.len().min(most_pieces.saturating_sub(self.pieces.len())));
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
}

impl FederationOut {
    /// The next transaction for a server.
    pub(super) async fn batch(&self, turn: &Turn) -> Result<Batch, DbError> {
        let most_pieces = turn.limit.unwrap_or(usize::MAX);
        let (messages, more_to_device) = self.messages(turn, MAX_TO_DEVICE.min(most_pieces)).await?;
        let (due, upto) = self.due(turn).await?;
        let mut batch = Batch { more_to_device, ..Batch::empty(upto) };
        batch.push_messages(messages);
        batch.push_log(due, turn.cursor, most_pieces);
        let is_durable = !batch.is_empty();
        batch.push_ephemeral(turn.ephemeral.clone(), most_pieces);
        batch.txn_id = if is_durable { content_txn_id(&batch) } else { self.unique_txn_id() };
        Ok(batch)
    }

    /// A transaction without anything in it: whether a server accepts it tells whether it accepts any.
    pub(super) fn empty_batch(&self) -> Batch {
        Batch { txn_id: self.unique_txn_id(), ..Batch::empty(0) }
    }

    /// What the log has for the server, oldest first, and how far that reaches.
    async fn due(&self, turn: &Turn) -> Result<(Vec<(Position, What)>, Position), DbError> {
        {
            let state = self.state.lock();
            if let Some(due) = state.recent.due(turn.server.as_str(), turn.cursor) {
                let within = due.take_while(|item| item.position <= turn.upto).take(MOST);
                let due: Vec<_> = within.map(|item| (item.position, item.what.clone())).collect();
                match due.last() {
                    Some((last, _)) if due.len() == MOST => {
                        let last = *last;
                        if !turn.was_away {
                            return Ok((due, last));
                        }
                    }
                    _ => return Ok((due, turn.upto)),
                }
            }
        }
        let backlog = self.backlog(&turn.server, turn.cursor, turn.upto).await?;
        Ok((backlog.due, backlog.upto))
    }

    /// The contents of the oldest `most` messages to devices, with their positions, and whether there are more.
    async fn messages(&self, turn: &Turn, most: usize) -> Result<(Vec<(Position, String)>, bool), DbError> {
        if !turn.to_device {
            return Ok((Vec::new(), false));
        }
        let server = turn.server.to_string();
        let read = move |tx: &mut Tx<'_>| {
            repo::federation_out::to_device(tx, &server, most as u64, MAX_TO_DEVICE_BYTES as u64)
        };
        let (rows, more): (Vec<ToDevice>, bool) = self.parts.db.read(read).await?;
        let mut messages = Vec::with_capacity(rows.len());
        for ToDevice { position, content } in rows {
            match readable(content) {
                Ok(content) => messages.push((position, content)),
                Err((reason, bytes)) => {
                    Piece::ToDevice { position, bytes }.log_set_aside(&turn.server, &reason);
                    self.delete_message(&turn.server, position).await?;
                }
            }
        }
        Ok((messages, more))
    }

    async fn delete_message(&self, server: &ServerName, position: Position) -> Result<(), DbError> {
        let server = server.to_string();
        let delete = move |tx: &mut Tx<'_>| repo::federation_out::delete_one_to_device(tx, &server, position);
        self.parts.db.write(delete).await
    }

    /// For a transaction that is not sent again if it fails.
    fn unique_txn_id(&self) -> String {
        format!("{}-{}", self.began_ms, self.serial.fetch_add(1, Ordering::Relaxed))
    }
}

/// A queued message that can be sent, or else why not and how long it is. Messages that were queued before they were
/// checked may be anything.
fn readable(content: Option<String>) -> Result<String, (String, usize)> {
    let content = content.ok_or(("it is not text".to_owned(), 0))?;
    let checked = Object::parse(&content).map_err(NotPortable::from).and_then(|object| object.check_readable());
    match checked {
        Ok(()) => Ok(content),
        Err(error) => Err((error.to_string(), content.len())),
    }
}

/// The same for the same content, also after a restart, and another one for any other: who has got it already passes
/// over a transaction with an id that it knows.
fn content_txn_id(batch: &Batch) -> String {
    let mut hash = Sha256::new();
    for text in batch.pdus.iter().chain(&batch.edus) {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().take(16).fold(String::new(), |id, byte| format!("{id}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(position: Position, bytes: usize) -> (Position, What) {
        (position, What::Edus(vec!["x".repeat(bytes)].into()))
    }

    #[test]
    fn a_transaction_has_a_bound_in_bytes_and_the_rest_comes_in_order() {
        let due: Vec<_> = (1..=40).map(|position| devices(position, 60_000)).collect();
        let (mut cursor, mut positions) = (0, Vec::new());
        while cursor < 40 {
            let mut batch = Batch::empty(40);
            let rest = due.iter().filter(|(position, _)| *position > cursor).cloned().collect();
            batch.push_log(rest, cursor, usize::MAX);
            assert!(batch.body("here", 1).len() < MAX_TRANSACTION_BYTES + 1_000);
            positions.extend(batch.pieces.iter().map(|piece| match piece {
                Piece::Devices { position, .. } => *position,
                other => panic!("{other:?}"),
            }));
            assert!(batch.cursor > cursor);
            cursor = batch.cursor;
        }
        assert_eq!(positions, (1..=40).collect::<Vec<_>>());
    }

    #[test]
    fn a_piece_that_is_larger_is_sent_alone() {
        let mut batch = Batch::empty(2);
        batch.push_log(vec![devices(1, MAX_TRANSACTION_BYTES + 1), devices(2, 1)], 0, usize::MAX);
        assert_eq!((batch.pieces.len(), batch.cursor), (1, 1));
        batch.push_ephemeral(vec![Ephemeral::Typing { key: "k".into(), content: "{}".into() }], usize::MAX);
        assert_eq!((batch.pieces.len(), batch.unsent.len()), (1, 1));
    }

    #[test]
    fn a_limit_counts_pieces_of_every_kind() {
        let build = |limit: usize| {
            let mut batch = Batch::empty(9);
            batch.push_messages((1..=3).take(limit).map(|position| (position, "{}".to_owned())).collect());
            batch.push_log(vec![devices(7, 2), devices(9, 2)], 5, limit);
            let typing = |key: &str| Ephemeral::Typing { key: key.into(), content: "{}".into() };
            batch.push_ephemeral(vec![typing("a"), typing("b")], limit);
            (batch.pieces.len(), batch.to_device, batch.cursor, batch.unsent.len())
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
            let mut batch = Batch::empty(0);
            edus.iter().for_each(|edu| batch.push_edu((*edu).to_owned()));
            content_txn_id(&batch)
        };
        assert_eq!(id(&["ab", "c"]), id(&["ab", "c"]));
        assert_ne!(id(&["ab", "c"]), id(&["a", "bc"]));
        assert_ne!(id(&["ab", "c"]), id(&["ab"]));
    }

    #[test]
    fn what_was_queued_unchecked_is_found() {
        assert!(readable(Some(r#"{"a":1.5}"#.to_owned())).is_ok());
        for bad in ["", "{", "[]", r#"{"a":1e999}"#, &format!(r#"{{"a":{}{}}}"#, "[".repeat(600), "]".repeat(600))] {
            assert!(readable(Some(bad.to_owned())).is_err(), "{bad}");
        }
        assert!(readable(None).is_err());
    }
}
