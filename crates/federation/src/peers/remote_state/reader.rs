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
    #[error("not an array of 200 and an object")]
    Status,
}

/// What the object is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    /// Nothing.
    Nothing,
    /// `[200, …]`, of which so many bytes have been read: version 1 of `send_join`.
    Begin(usize),
    /// The object of such an array, or the rest of it.
    Within,
    /// The array has ended.
    End,
}

/// How the body of a response of version 1 begins, but for whitespace.
const STATUS: &[u8] = b"[200,";

/// Reads the body chunk by chunk. It holds one part of the events and one member at a time.
#[derive(Debug)]
pub struct StateReader {
    around: Around,
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
        Self::within(Around::Nothing)
    }

    /// A reader at the start of a body of version 1 of `send_join`, which says the status once more.
    #[must_use]
    pub fn with_status() -> Self {
        Self::within(Around::Begin(0))
    }

    fn within(around: Around) -> Self {
        Self { around, object: ObjectReader::new(WANTED), parts: VecDeque::new(), events: Vec::new(), list: "" }
    }

    /// Reads the next chunk of the body.
    ///
    /// # Errors
    /// When the body is malformed. Nothing more can be read then.
    pub fn read(&mut self, chunk: &[u8]) -> Result<(), StateReadError> {
        let chunk = self.read_begin(chunk)?;
        let mut pieces = Vec::new();
        match self.object.read(chunk, |piece| pieces.push(piece)) {
            // The end of the array; nobody needs what may follow it.
            Err(PiecesError::Syntax { byte: b']', .. }) if self.around == Around::Within && self.object.has_ended() => {
                self.around = Around::End;
            }
            read => read?,
        }
        pieces.into_iter().try_for_each(|piece| self.take(piece))
    }

    /// Reads what is before the object. Returns the rest of the chunk.
    fn read_begin<'c>(&mut self, chunk: &'c [u8]) -> Result<&'c [u8], StateReadError> {
        let mut rest = chunk;
        while let Around::Begin(read) = self.around {
            let Some(expected) = STATUS.get(read) else {
                self.around = Around::Within;
                break;
            };
            let Some((byte, behind)) = rest.split_first() else { break };
            if byte == expected {
                self.around = Around::Begin(read + 1);
            } else if !byte.is_ascii_whitespace() {
                return Err(StateReadError::Status);
            }
            rest = behind;
        }
        Ok(if self.around == Around::End { &[] } else { rest })
    }

    /// Returns the next part that is complete.
    pub fn next_part(&mut self) -> Option<StatePart> {
        self.parts.pop_front()
    }

    /// Ends the body once [`Self::next_part`] has returned `None`. Returns the remaining events of the last array.
    ///
    /// # Errors
    /// When the body breaks off.
    pub fn finish(mut self) -> Result<Option<StatePart>, StateReadError> {
        self.end_list();
        if matches!(self.around, Around::Begin(_) | Around::Within) {
            return Err(StateReadError::Status);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How many state events there are in a body that comes in chunks of `size` bytes.
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
