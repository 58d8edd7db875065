//! One transaction: what a server gets next.

use std::sync::atomic::Ordering;

use plexus_store::repo::federation_out::ToDevice;
use plexus_store::{DbError, Position, repo};
use sha2::{Digest as _, Sha256};

use super::FederationOut;
use super::book::Turn;
use super::ephemeral::{self, Ephemeral, edu};
use super::recent::What;
use crate::json::{Members, push_array};

/// The most events and EDUs of a transaction (server-server API, "Transactions").
const MAX_PDUS: usize = 50;
const MAX_EDUS: usize = 100;
/// How many of the EDUs may be messages to devices.
const MAX_TO_DEVICE: usize = 50;
/// The most pieces that one transaction can take. Who was away and has missed more gets only the newest event of each room,
/// and fetches the rest itself.
pub(super) const MOST: usize = MAX_PDUS + MAX_EDUS;

/// A transaction.
pub(super) struct Batch {
    pub txn_id: String,
    pub pdus: Vec<String>,
    pub edus: Vec<String>,
    /// Once it is there, the server has got everything up to here.
    pub cursor: Position,
    /// Of the messages to devices in it, the last.
    pub to_device: Option<Position>,
    pub more_to_device: bool,
    /// Ephemeral EDUs for which there was no room.
    pub unsent: Vec<Ephemeral>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.pdus.is_empty() && self.edus.is_empty()
    }

    /// The request's body.
    pub fn body(&self, origin: &str, now_ms: u64) -> String {
        let mut body = String::new();
        let mut members = Members::open(&mut body);
        push_array(members.key("edus"), self.edus.iter().map(String::as_str));
        members.text("origin", origin);
        members.number("origin_server_ts", now_ms);
        push_array(members.key("pdus"), self.pdus.iter().map(String::as_str));
        members.close();
        body
    }
}

impl FederationOut {
    /// The next transaction for a server.
    pub(super) async fn batch(&self, turn: &Turn) -> Result<Batch, DbError> {
        let (messages, more_to_device) = self.messages(turn).await?;
        let (due, upto) = self.due(turn).await?;
        let mut batch = Batch {
            txn_id: String::new(),
            pdus: Vec::new(),
            edus: messages.iter().map(|message| edu("m.direct_to_device", &message.content)).collect(),
            cursor: upto,
            to_device: messages.last().map(|message| message.position),
            more_to_device,
            unsent: Vec::new(),
        };
        let mut positions: Vec<Position> = messages.iter().map(|message| message.position).collect();
        let mut reached = turn.cursor;
        for (position, what) in due {
            if batch.pdus.len() + what.pdus() > MAX_PDUS || batch.edus.len() + what.edus() > MAX_EDUS {
                batch.cursor = reached;
                break;
            }
            match what {
                What::Pdu(pdu) => batch.pdus.push(pdu.json().to_owned()),
                What::Edus(edus) => batch.edus.extend(edus.iter().cloned()),
            }
            positions.push(position);
            reached = position;
        }
        let room = MAX_EDUS - batch.edus.len();
        let (edus, unsent) = ephemeral::edus(turn.ephemeral.clone(), room);
        batch.txn_id = self.txn_id(&positions, &edus);
        batch.edus.extend(edus);
        batch.unsent = unsent;
        Ok(batch)
    }

    /// What the log has for the server, oldest first, and how far that reaches.
    async fn due(&self, turn: &Turn) -> Result<(Vec<(Position, What)>, Position), DbError> {
        {
            let state = self.state();
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

    async fn messages(&self, turn: &Turn) -> Result<(Vec<ToDevice>, bool), DbError> {
        if !turn.to_device {
            return Ok((Vec::new(), false));
        }
        let server = turn.server.to_string();
        let limit = MAX_TO_DEVICE as u64 + 1;
        let mut messages: Vec<ToDevice> =
            self.parts.db.read(move |tx| repo::federation_out::to_device(tx, &server, limit)).await?;
        let more = messages.len() > MAX_TO_DEVICE;
        messages.truncate(MAX_TO_DEVICE);
        Ok((messages, more))
    }

    /// The same for the same content, also after a restart: who has it already then takes it for what it is.
    fn txn_id(&self, positions: &[Position], ephemeral: &[String]) -> String {
        if positions.is_empty() {
            return format!("{}-{}", self.began_ms, self.serial.fetch_add(1, Ordering::Relaxed));
        }
        let mut hash = Sha256::new();
        for position in positions {
            hash.update(position.to_be_bytes());
        }
        for edu in ephemeral {
            hash.update(edu.as_bytes());
        }
        hash.finalize().iter().take(16).fold(String::new(), |id, byte| format!("{id}{byte:02x}"))
    }
}
