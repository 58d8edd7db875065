//! Splits the body of a `send_join` or `state` response into parts, without IO.

use std::collections::VecDeque;

use plexus_protocol::id::ServerName;
use plexus_protocol::json::pieces::{ObjectReader, Piece, PiecesError, Wanted};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::peers::{RawPdu, StatePart};

const WANTED: Wanted = Wanted {
    elements_of: &["state", "pdus", "auth_chain"],
    // An event has at most 65,536 bytes without `unsigned`, which other servers may add.
    max_element: 128 * 1024,
    members: &["event", "members_omitted", "servers_in_room"],
    // A server name has at most 255 bytes, and rooms have thousands of servers.
    max_member: 8 * 1024 * 1024,
};

/// How many servers of a room are kept; no room has as many.
const MAX_SERVERS: usize = 50_000;
/// How many events a part has. The signatures of a part are verified as a batch.
const EVENTS_PER_PART: usize = 1_024;

/// Why a body is not a response to `send_join` or `state`.
#[derive(Debug, thiserror::Error)]
pub enum StateReadError {
    /// The body is not JSON, or too large in parts.
    #[error(transparent)]
    Pieces(#[from] PiecesError),
    /// A member of the object has the wrong type.
    #[error(transparent)]
    Member(#[from] serde_json::Error),
    /// The body of a version 1 response is not `[200, {...}]`.
    #[error("not an array of 200 and an object")]
    Status,
}

/// How much of the array envelope the object has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Envelope {
    /// There is no array.
    None,
    /// The number of bytes of [`STATUS`] that have been read.
    Begin(usize),
    /// The array's beginning.
    Within,
    /// The whole array.
    End,
}

/// The beginning of the array envelope the body of version 1 of `send_join`, without whitespace.
const STATUS: &[u8] = b"[200,";

/// Reads the body chunk by chunk. It holds one part of the events and one member at a time.
#[derive(Debug)]
pub struct StateReader {
    envelope: Envelope,
    object: ObjectReader,
    parts: VecDeque<StatePart>,
    /// Events of the array that is being read.
    events: Vec<RawPdu>,
    /// The name of the array that is being read.
    list: &'static str,
}

impl Default for StateReader {
    fn default() -> Self {
        Self::new()
    }
}

impl StateReader {
    /// Returns a reader of a body that is an object.
    #[must_use]
    pub fn new() -> Self {
        Self::within(Envelope::None)
    }

    /// Returns a reader of a body of version 1 of `send_join`: an array of the status and the object.
    #[must_use]
    pub fn with_status() -> Self {
        Self::within(Envelope::Begin(0))
    }

    fn within(envelope: Envelope) -> Self {
        Self { envelope, object: ObjectReader::new(WANTED), parts: VecDeque::new(), events: Vec::new(), list: "" }
    }

    /// Reads the next chunk of the body.
    ///
    /// # Errors
    /// When the body is malformed. Nothing more can be read then.
    pub fn read(&mut self, chunk: &[u8]) -> Result<(), StateReadError> {
        let chunk = self.read_begin(chunk)?;
        let mut pieces = Vec::new();
        match self.object.read(chunk, |piece| pieces.push(piece)) {
            // The end of the array.
            Err(PiecesError::Syntax { byte: b']', .. })
                if self.envelope == Envelope::Within && self.object.has_ended() =>
            {
                self.envelope = Envelope::End;
            }
            read => read?,
        }
        pieces.into_iter().try_for_each(|piece| self.add(piece))
    }

    /// Reads the array's beginning. Returns the rest of the chunk.
    fn read_begin<'c>(&mut self, chunk: &'c [u8]) -> Result<&'c [u8], StateReadError> {
        let mut rest = chunk;
        while let Envelope::Begin(read) = self.envelope {
            let Some(expected) = STATUS.get(read) else {
                self.envelope = Envelope::Within;
                break;
            };
            let Some((byte, behind)) = rest.split_first() else { break };
            if byte == expected {
                self.envelope = Envelope::Begin(read + 1);
            } else if !byte.is_ascii_whitespace() {
                return Err(StateReadError::Status);
            }
            rest = behind;
        }
        Ok(if self.envelope == Envelope::End { &[] } else { rest })
    }

    /// Returns the next part that is complete.
    pub fn next_part(&mut self) -> Option<StatePart> {
        self.parts.pop_front()
    }

    /// Ends the body, after [`Self::next_part`] has returned `None`. Returns the last events.
    ///
    /// # Errors
    /// When the body is incomplete.
    pub fn finish(mut self) -> Result<Option<StatePart>, StateReadError> {
        self.end_list();
        if matches!(self.envelope, Envelope::Begin(_) | Envelope::Within) {
            return Err(StateReadError::Status);
        }
        self.object.finish()?;
        Ok(self.parts.pop_front())
    }

    fn add(&mut self, piece: Piece) -> Result<(), StateReadError> {
        match piece {
            Piece::Element(list, json) => {
                if list != self.list || self.events.len() >= EVENTS_PER_PART {
                    self.end_list();
                    self.list = list;
                }
                // An element that is not JSON is left out; the events envelope it may be valid.
                if let Ok(Ok(event)) = String::from_utf8(json).map(RawValue::from_string) {
                    self.events.push(event);
                }
            }
            Piece::Member("event", json) => {
                // Servers without restricted rooms send no `event`, or `null`.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of state events in a body that arrives in chunks of `size` bytes.
    fn read(body: &str, size: usize) -> Result<usize, StateReadError> {
        let mut reader = StateReader::with_status();
        for chunk in body.as_bytes().chunks(size) {
            reader.read(chunk)?;
        }
        let mut events = 0;
        let mut count = |part: StatePart| match part {
            StatePart::State(state) => events += state.len(),
            other => panic!("{other:?}"),
        };
        while let Some(part) = reader.next_part() {
            count(part);
        }
        reader.finish()?.map(&mut count);
        Ok(events)
    }

    #[test]
    fn a_response_of_version_1_is_read_in_chunks_of_any_size() {
        let body = " [ 200 , {\"state\":[{\"a\":\"]}\"},{}],\"origin\":\"x\"} ] ";
        for size in 1..=body.len() {
            assert_eq!(read(body, size).unwrap(), 2, "{size}");
        }
        for bad in ["{\"state\":[]}", "[403,{}]", "[200,{}", "[200,{\"state\":[]", "[200,", "", "[200,{}}", "[200,[]]"]
        {
            for size in [1, 100] {
                assert!(read(bad, size).is_err(), "{bad}");
            }
        }
    }
}
