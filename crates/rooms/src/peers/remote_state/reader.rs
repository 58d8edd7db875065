//! Takes the body of a `send_join` or `state` response apart while it arrives, without IO.

use std::collections::VecDeque;

use plexus_protocol::id::ServerName;
use plexus_protocol::json::pieces::{ObjectReader, Piece, PiecesError, Wanted};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::peers::{RawPdu, StatePart};

const WANTED: Wanted = Wanted {
    elements_of: &["state", "pdus", "auth_chain"],
    // An event has at most 65,536 bytes; `unsigned`, which counts for nothing, may add to that on the way.
    max_element: 128 * 1024,
    members: &["event", "members_omitted", "servers_in_room"],
    // A server name has at most 255 bytes, and rooms have thousands of servers.
    max_member: 8 * 1024 * 1024,
};

/// How many servers of a room are kept: more than any room has.
const MAX_SERVERS: usize = 50_000;
/// How many events a part holds: enough for their signatures to be verified as a batch.
const EVENTS_PER_PART: usize = 1_024;

/// Why a body is not a response to `send_join` or `state`.
#[derive(Debug, thiserror::Error)]
pub enum StateReadError {
    #[error(transparent)]
    Pieces(#[from] PiecesError),
    #[error(transparent)]
    Member(#[from] serde_json::Error),
}

/// Reads the body chunk by chunk. It holds one part of the events and one member at a time.
#[derive(Debug)]
pub struct StateReader {
    object: ObjectReader,
    parts: VecDeque<StatePart>,
    /// Events of the array that is being read.
    events: Vec<RawPdu>,
    /// The name of that array.
    list: &'static str,
}

impl Default for StateReader {
    fn default() -> Self {
        Self::new()
    }
}

impl StateReader {
    /// A reader at the start of a body.
    #[must_use]
    pub fn new() -> Self {
        Self { object: ObjectReader::new(WANTED), parts: VecDeque::new(), events: Vec::new(), list: "" }
    }

    /// Reads the next chunk of the body.
    ///
    /// # Errors
    /// When the body is malformed. Nothing more can be read then.
    pub fn read(&mut self, chunk: &[u8]) -> Result<(), StateReadError> {
        let mut pieces = Vec::new();
        self.object.read(chunk, |piece| pieces.push(piece))?;
        pieces.into_iter().try_for_each(|piece| self.take(piece))
    }

    /// Returns the next part that is complete.
    pub fn next_part(&mut self) -> Option<StatePart> {
        self.parts.pop_front()
    }

    /// Ends the body once [`Self::next_part`] has returned `None`. Returns the events of the last array that made no whole part.
    ///
    /// # Errors
    /// When the body breaks off.
    pub fn finish(mut self) -> Result<Option<StatePart>, StateReadError> {
        self.end_list();
        self.object.finish()?;
        Ok(self.parts.pop_front())
    }

    fn take(&mut self, piece: Piece) -> Result<(), StateReadError> {
        match piece {
            Piece::Element(list, json) => {
                if list != self.list || self.events.len() >= EVENTS_PER_PART {
                    self.end_list();
                    self.list = list;
                }
                // What is not JSON cannot be an event; the events around it may be good.
                if let Ok(Ok(event)) = String::from_utf8(json).map(RawValue::from_string) {
                    self.events.push(event);
                }
            }
            Piece::Member("event", json) => {
                // Servers older than restricted rooms send no `event`, or `null`.
                if let Some(event) = member::<Option<RawPdu>>(&json)? {
                    self.parts.push_back(StatePart::Join(event));
                }
            }
            Piece::Member("members_omitted", json) => {
                if member::<Option<bool>>(&json)? == Some(true) {
                    self.parts.push_back(StatePart::MembersOmitted);
                }
            }
            Piece::Member(_, json) => {
                let names: Option<Vec<String>> = member(&json)?;
                let names = names.unwrap_or_default().into_iter().filter_map(|name| ServerName::try_from(name).ok());
                self.parts.push_back(StatePart::Servers(names.take(MAX_SERVERS).collect()));
            }
        }
        Ok(())
    }

    fn end_list(&mut self) {
        let events = std::mem::take(&mut self.events);
        if !events.is_empty() {
            self.parts.push_back(match self.list {
                "auth_chain" => StatePart::AuthChain(events),
                _ => StatePart::State(events),
            });
        }
    }
}

fn member<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(json)
}
