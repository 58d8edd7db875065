//! A room's state as it comes in from another server.

use std::collections::VecDeque;
use std::time::Duration;

use plexus_net::federation::{FederationError, StreamedAnswer};
use plexus_protocol::id::ServerName;
use plexus_protocol::json::pieces::{ObjectReader, Piece, Wanted};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Asked, RawPdu, StatePart, StateParts};

const WANTED: Wanted = Wanted {
    elements_of: &["state", "pdus", "auth_chain"],
    // An event has 65,536 bytes at most; what `unsigned` adds on its way counts for nothing.
    max_element: 128 * 1024,
    members: &["event", "members_omitted", "servers_in_room"],
    // A server's name has 255 bytes at most, and rooms have thousands of servers.
    max_member: 8 * 1024 * 1024,
};

/// How long each piece of an answer that has begun may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many servers of a room are remembered: more than any has.
const MOST_SERVERS: usize = 50_000;
/// How many events a part has: so many that checking their signatures together pays.
const EVENTS_AT_ONCE: usize = 1_024;

/// The answer to `send_join` or `state`.
pub(super) struct Told {
    from: ServerName,
    answer: StreamedAnswer,
    /// `None` once the answer has ended.
    reader: Option<ObjectReader>,
    parts: VecDeque<StatePart>,
    /// Events of the list that is being read.
    events: Vec<RawPdu>,
    list: &'static str,
}

impl Told {
    pub fn new(from: ServerName, answer: StreamedAnswer) -> Self {
        let reader = Some(ObjectReader::new(WANTED));
        Self { from, answer, reader, parts: VecDeque::new(), events: Vec::new(), list: "" }
    }

    async fn next_part(&mut self) -> Result<Option<StatePart>, FederationError> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Ok(Some(part));
            }
            let Some(reader) = &mut self.reader else { return Ok(None) };
            let mut pieces = Vec::new();
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await;
            match chunk.map_err(|_| FederationError::Timeout(self.from.clone()))?? {
                Some(chunk) => {
                    let read = reader.read(&chunk, |piece| pieces.push(piece));
                    read.map_err(|error| malformed(&self.from, &error))?;
                }
                None => {
                    let ended = self.reader.take().map_or(Ok(()), ObjectReader::finish);
                    ended.map_err(|error| malformed(&self.from, &error))?;
                    self.end_list();
                }
            }
            for piece in pieces {
                self.take(piece)?;
            }
        }
    }

    fn take(&mut self, piece: Piece) -> Result<(), FederationError> {
        match piece {
            Piece::Element(list, json) => {
                if list != self.list || self.events.len() >= EVENTS_AT_ONCE {
                    self.end_list();
                    self.list = list;
                }
                match String::from_utf8(json).map(RawValue::from_string) {
                    Ok(Ok(event)) => self.events.push(event),
                    _ => tracing::info!("{} told something in a room's state that is no JSON", self.from),
                }
            }
            Piece::Member("event", json) => {
                // Servers of before restricted rooms answer none, or `null`.
                if let Some(event) = self.member::<Option<RawPdu>>(&json)? {
                    self.parts.push_back(StatePart::Join(event));
                }
            }
            Piece::Member("members_omitted", json) => {
                if self.member::<Option<bool>>(&json)? == Some(true) {
                    self.parts.push_back(StatePart::MembersOmitted);
                }
            }
            Piece::Member(_, json) => {
                let names: Option<Vec<String>> = self.member(&json)?;
                let names = names.unwrap_or_default().into_iter().filter_map(|name| ServerName::try_from(name).ok());
                self.parts.push_back(StatePart::Servers(names.take(MOST_SERVERS).collect()));
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

    fn member<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T, FederationError> {
        serde_json::from_slice(json).map_err(|error| malformed(&self.from, &error))
    }
}

impl StateParts for Told {
    fn next(&mut self) -> Asked<'_, Option<StatePart>> {
        Box::pin(self.next_part())
    }
}

fn malformed(from: &ServerName, problem: &dyn std::fmt::Display) -> FederationError {
    FederationError::NotJson { destination: from.clone(), problem: problem.to_string() }
}
