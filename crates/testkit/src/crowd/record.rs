//! The events received by each server, stored compactly.

use std::collections::HashMap;

use plexus_protocol::event::Pdu;
use plexus_protocol::rules::RoomVersion;
use serde_json::value::RawValue;

use super::Seen;

/// The events received by each server.
pub(super) struct Record {
    version: RoomVersion,
    /// Numbers of events, by their JSON: all servers receive the same.
    by_json: HashMap<String, usize>,
    events: Vec<Event>,
    servers: Vec<Server>,
    seen: Seen,
}

struct Event {
    id: String,
    /// How many servers have received it.
    got: usize,
}

#[derive(Default)]
struct Server {
    transactions: Vec<String>,
    events: Vec<usize>,
}

impl Record {
    pub(super) fn new(servers: usize, version: RoomVersion) -> Self {
        let servers = (0..servers).map(|_| Server::default()).collect();
        Self { version, by_json: HashMap::new(), events: Vec::new(), servers, seen: Seen::default() }
    }

    /// Records a transaction received by a server.
    pub(super) fn take(&mut self, server: usize, txn_id: &str, body: &[u8]) {
        let body: HashMap<&str, &RawValue> = serde_json::from_slice(body).expect("a transaction is an object");
        let pdus: Vec<&RawValue> = serde_json::from_str(body["pdus"].get()).expect("a list of events");
        let server = &mut self.servers[server];
        if server.transactions.iter().any(|other| other == txn_id) {
            self.seen.repeated += 1;
            return;
        }
        server.transactions.push(txn_id.to_owned());
        self.seen.transactions += 1;
        self.seen.without_events += usize::from(pdus.is_empty());
        for pdu in pdus {
            let event = match self.by_json.get(pdu.get()) {
                Some(event) => *event,
                None => {
                    let parsed = Pdu::parse_remote(pdu.get(), self.version).expect("an event");
                    self.events.push(Event { id: parsed.event_id().to_string(), got: 0 });
                    self.by_json.insert(pdu.get().to_owned(), self.events.len() - 1);
                    self.events.len() - 1
                }
            };
            if !server.events.contains(&event) {
                self.events[event].got += 1;
            }
            server.events.push(event);
        }
    }

    /// Returns how many servers have received an event.
    pub(super) fn got(&self, event_id: &str) -> usize {
        self.events.iter().find(|event| event.id == event_id).map_or(0, |event| event.got)
    }

    /// Returns the events that a server received, in order.
    pub(super) fn events(&self, server: usize) -> Vec<String> {
        self.servers[server].events.iter().map(|event| self.events[*event].id.clone()).collect()
    }

    /// Returns the numbers of transactions.
    pub(super) fn seen(&self) -> Seen {
        self.seen
    }
}
