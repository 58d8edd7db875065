//! The auth events of a room in memory: what state resolution walks.
//!
//! Filled on demand: a room whose graph never forks needs none of it.

use std::collections::{HashMap, HashSet};

use plexus_protocol::auth::AuthEvent;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_protocol::rules::RoomVersion;
use plexus_protocol::state_res::{AuthGraph, Node};
use plexus_store::repo::events::{BareEvent, Verdict};
use plexus_store::{Database, DbError, EventNid, RoomNid, event_key, repo};

use crate::model::stored_events;

/// How many events are read at a time.
const READ_AT_ONCE: usize = 2_000;

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

    /// An event's place in the graph; `None` when it is not included, or its auth chain is not complete.
    pub fn node(&self, nid: EventNid) -> Option<Node> {
        self.nodes.get(&nid).copied()
    }

    /// The number of an event in the graph.
    pub fn nid(&self, node: Node) -> Option<EventNid> {
        self.nids.get(&node).copied()
    }

    /// Takes in an event that is not stored yet.
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

    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        // An event's id, its place in five maps, and its node with the edges.
        const EVENT: usize = 640;
        self.seen.len() * EVENT
    }

    /// Reads a room's state events and their auth chains, as far as they are not included yet.
    pub async fn include(
        &mut self,
        db: &Database,
        (room, version): (RoomNid, RoomVersion),
        events: impl IntoIterator<Item = EventNid>,
    ) -> Result<(), DbError> {
        let wanted: Vec<EventNid> = events.into_iter().filter(|nid| !self.seen.contains(nid)).collect();
        for chunk in wanted.chunks(READ_AT_ONCE) {
            let nids = chunk.to_vec();
            let rows = db.read(move |tx| repo::events::bare_by_nids(tx, &nids)).await?;
            self.add(version, &rows)?;
        }
        let mut in_vain: HashSet<EventId> = HashSet::new();
        loop {
            let missing: Vec<EventId> =
                self.graph.missing().into_iter().filter(|id| !in_vain.contains(id)).take(READ_AT_ONCE).collect();
            if missing.is_empty() {
                break;
            }
            let mut rows = by_ids(db, &missing).await?;
            rows.retain(|row| row.room_nid == room);
            in_vain.extend(missing);
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

/// Events of a room by id, outliers and rejected ones too; those that are unknown or of other rooms are left out.
pub async fn auth_events(
    db: &Database,
    (room, version): (RoomNid, RoomVersion),
    ids: &[EventId],
) -> Result<HashMap<EventId, AuthEvent>, DbError> {
    let mut found = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(READ_AT_ONCE) {
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

/// The event of a row, as it federates.
pub fn parse(row: &BareEvent, version: RoomVersion) -> Result<Pdu, DbError> {
    stored_events::parse_event((row.event_nid, &row.event_id), &row.json, version)
}
