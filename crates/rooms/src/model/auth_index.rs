//! The auth chains of a room in memory, for state resolution. They are loaded on demand: a room whose graph never forks
//! needs none.

use std::collections::{HashMap, HashSet};

use plexus_protocol::auth::AuthEvent;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_protocol::rules::RoomVersion;
use plexus_protocol::state_res::{AuthGraph, Node};
use plexus_store::repo::events::{BareEvent, Verdict};
use plexus_store::{Database, DbError, EventNid, RoomNid, event_key, repo};

use crate::model::stored_events;

/// The number of events of one query.
const EVENTS_PER_READ: usize = 2_000;

/// State events and their auth chains.
#[derive(Default)]
pub struct AuthIndex {
    graph: AuthGraph,
    nodes: HashMap<EventNid, Node>,
    nids: HashMap<Node, EventNid>,
    ids: HashMap<EventId, EventNid>,
    seen: HashSet<EventNid>,
}

impl AuthIndex {
    /// The graph.
    pub fn graph(&self) -> &AuthGraph {
        &self.graph
    }

    /// Returns the node of an event; `None` if it is not included, or its auth chain is not complete.
    pub fn node(&self, nid: EventNid) -> Option<Node> {
        self.nodes.get(&nid).copied()
    }

    /// Returns the number of an event of the graph.
    pub fn nid(&self, node: Node) -> Option<EventNid> {
        self.nids.get(&node).copied()
    }

    /// Includes an event that is not stored yet.
    pub fn include_new(&mut self, nid: EventNid, pdu: &Pdu) {
        self.graph.add(pdu);
        self.seen.insert(nid);
        match self.graph.node(pdu.event_id()) {
            Some(node) => {
                self.nodes.insert(nid, node);
                self.nids.insert(node, nid);
            }
            None => _ = self.ids.insert(pdu.event_id().clone(), nid),
        }
    }

    /// Returns the approximate size in bytes.
    pub fn weight(&self) -> usize {
        // An event's id, its entries in five maps, and its node with the edges.
        const EVENT: usize = 640;
        self.seen.len() * EVENT
    }

    /// Includes state events of a room and their auth chains.
    pub async fn include(
        &mut self,
        db: &Database,
        (room, version): (RoomNid, RoomVersion),
        events: impl IntoIterator<Item = EventNid>,
    ) -> Result<(), DbError> {
        let wanted: Vec<EventNid> = events.into_iter().filter(|nid| !self.seen.contains(nid)).collect();
        for chunk in wanted.chunks(EVENTS_PER_READ) {
            let nids = chunk.to_vec();
            let rows = db.read(move |tx| repo::events::bare_by_nids(tx, &nids)).await?;
            self.add(version, &rows)?;
        }
        let mut unknown: HashSet<EventId> = HashSet::new();
        loop {
            let missing: Vec<EventId> =
                self.graph.missing().into_iter().filter(|id| !unknown.contains(id)).take(EVENTS_PER_READ).collect();
            if missing.is_empty() {
                break;
            }
            let mut rows = by_ids(db, &missing).await?;
            rows.retain(|row| row.room_nid == room);
            unknown.extend(missing);
            self.add(version, &rows)?;
        }
        for (id, nid) in &self.ids {
            if let Some(node) = self.graph.node(id) {
                self.nodes.insert(*nid, node);
                self.nids.insert(node, *nid);
            }
        }
        self.ids.retain(|_, nid| !self.nodes.contains_key(nid));
        Ok(())
    }

    fn add(&mut self, version: RoomVersion, rows: &[BareEvent]) -> Result<(), DbError> {
        for row in rows {
            if self.seen.insert(row.event_nid) {
                let pdu = parse(row, version)?;
                self.graph.add(&pdu);
                self.ids.insert(pdu.event_id().clone(), row.event_nid);
            }
        }
        Ok(())
    }
}

/// Returns events of a room by id, with outliers and rejected events. Events that are not stored, or of other rooms,
/// are left out.
///
/// # Errors
/// When the database fails, or an event cannot be read.
pub async fn auth_events(
    db: &Database,
    (room, version): (RoomNid, RoomVersion),
    ids: &[EventId],
) -> Result<HashMap<EventId, AuthEvent>, DbError> {
    let mut found = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(EVENTS_PER_READ) {
        for row in by_ids(db, chunk).await?.into_iter().filter(|row| row.room_nid == room) {
            let pdu = parse(&row, version)?;
            found.insert(pdu.event_id().clone(), AuthEvent { pdu, rejected: row.verdict == Verdict::Rejected });
        }
    }
    Ok(found)
}

async fn by_ids(db: &Database, ids: &[EventId]) -> Result<Vec<BareEvent>, DbError> {
    let keys: Vec<Vec<u8>> = ids.iter().map(event_key::encode).collect();
    db.read(move |tx| repo::events::bare_by_ids(tx, &keys)).await
}

/// Parses the event of a row.
///
/// # Errors
/// When it cannot be read.
pub fn parse(row: &BareEvent, version: RoomVersion) -> Result<Pdu, DbError> {
    stored_events::parse_event((row.event_nid, &row.event_id), &row.json, version)
}
