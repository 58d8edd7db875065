//! Events for other servers, with their place in the room's graph.

use super::events::{GraphNode, graph_node, unpacked};
use crate::db::Any;
use crate::pdu_json::UnpackError;
use crate::{DbError, EventNid, Row, Tx};

/// An event and its place in its room's graph.
#[derive(Debug, Clone)]
pub struct GraphEvent {
    pub known: GraphNode,
    pub redacted_by: Option<EventNid>,
    /// The exact JSON, if it can be read.
    pub json: Result<String, UnpackError>,
}

fn graph_event(row: &Row<'_>) -> Result<GraphEvent, DbError> {
    Ok(GraphEvent { known: graph_node(row)?, redacted_by: row.get(8)?, json: unpacked(row, 9)? })
}

/// Returns events by stored id (see [`crate::event_key`]), including outliers, in no particular order; unknown ids are
/// ignored.
pub fn by_ids(tx: &mut Tx<'_>, event_ids: &[Vec<u8>]) -> Result<Vec<GraphEvent>, DbError> {
    tx.query(
        "SELECT event_nid, event_id, room_nid, position, depth, state_key_nid, snapshot_nid, verdict, redacted_by, json
         FROM events WHERE event_id = ANY($1)",
        &[&Any(event_ids)],
        graph_event,
    )
}

/// Returns events by number, including outliers, in no particular order; unknown numbers are ignored.
pub fn by_nids(tx: &mut Tx<'_>, nids: &[EventNid]) -> Result<Vec<GraphEvent>, DbError> {
    tx.query(
        "SELECT event_nid, event_id, room_nid, position, depth, state_key_nid, snapshot_nid, verdict, redacted_by, json
         FROM events WHERE event_nid = ANY($1)",
        &[&Any(nids)],
        graph_event,
    )
}

/// Returns the stored ids of events (see [`crate::event_key`]), in no particular order; unknown numbers are ignored.
pub fn ids(tx: &mut Tx<'_>, nids: &[EventNid]) -> Result<Vec<Vec<u8>>, DbError> {
    tx.query("SELECT event_id FROM events WHERE event_nid = ANY($1)", &[&Any(nids)], |row| row.get(0))
}
