//! The rows that the database keeps of events.

use plexus_protocol::event::Pdu;
use plexus_protocol::event::redact::redaction_target;
use plexus_protocol::event::relation::relation_of;
use plexus_store::repo::events::{NewEvent, Verdict};
use plexus_store::repo::relations::RelationRow;
use plexus_store::repo::{self, state_snapshots};
use plexus_store::{DbError, EventNid, Position, RoomNid, SnapshotNid, Tx, event_key};

use crate::model::interner::Lookups;
use crate::write::pending::JudgedEvent;

/// The values of an event's row in `events`.
pub(super) struct EventRow<'a> {
    pub(super) nid: EventNid,
    pub(super) room: RoomNid,
    pub(super) pdu: &'a Pdu,
    /// The JSON as the database stores it; empty if it is stored already.
    pub(super) packed: &'a [u8],
    pub(super) verdict: Verdict,
    /// `None` for an outlier.
    pub(super) snapshot_before: Option<SnapshotNid>,
    /// `None` for an event that is not in the timeline.
    pub(super) position: Option<Position>,
    /// See [`crate::model::room::Room::comes_late`].
    pub(super) late: bool,
}

impl EventRow<'_> {
    /// Returns the row.
    pub(super) fn build(self, tx: &mut Tx<'_>, lookups: &mut Lookups<'_>) -> Result<NewEvent, DbError> {
        let pdu = self.pdu;
        Ok(NewEvent {
            event_nid: self.nid,
            event_id: event_key::encode(pdu.event_id()),
            room_nid: self.room,
            position: self.position,
            late: self.late,
            depth: depth(pdu),
            type_nid: lookups.event_type(tx, pdu.event_type())?,
            state_key_nid: pdu.state_key().map(|key| lookups.state_key(tx, key)).transpose()?,
            sender_nid: lookups.user(tx, pdu.sender())?,
            origin_server_ts: origin_server_ts(pdu),
            snapshot_nid: self.snapshot_before,
            verdict: self.verdict,
            json: self.packed.to_vec(),
        })
    }
}

/// Returns the depth of an event as the database stores it.
pub(super) fn depth(pdu: &Pdu) -> i64 {
    i64::try_from(pdu.depth()).unwrap_or(i64::MAX)
}

/// Returns `origin_server_ts` as the database stores it.
pub(super) fn origin_server_ts(pdu: &Pdu) -> i64 {
    i64::try_from(pdu.origin_server_ts()).unwrap_or(i64::MAX)
}

/// The rows of events that are added to the graph in one transaction.
#[derive(Default)]
pub(super) struct GraphRows {
    new: Vec<NewEvent>,
    /// Events that were outliers.
    stored: Vec<NewEvent>,
    snapshots: state_snapshots::Writer,
    relations: Vec<RelationRow>,
    /// The stored ids of redacted events that are not in the timeline yet, each with its redaction.
    early_redactions: Vec<(Vec<u8>, EventNid)>,
}

impl GraphRows {
    /// Starts without events. Snapshots are written by `snapshots`.
    pub(super) fn new(snapshots: state_snapshots::Writer) -> Self {
        Self { snapshots, ..Self::default() }
    }

    /// Adds an event and its snapshots.
    pub(super) fn add(
        &mut self,
        tx: &mut Tx<'_>,
        lookups: &mut Lookups<'_>,
        room: RoomNid,
        event: &JudgedEvent,
        position: Option<Position>,
        late: bool,
    ) -> Result<(), DbError> {
        let row = EventRow {
            nid: event.nid,
            room,
            pdu: &event.pdu,
            packed: &event.packed,
            verdict: event.verdict,
            snapshot_before: event.snapshot_before.map(|snapshot| snapshot.nid),
            position,
            late,
        };
        let row = row.build(tx, lookups)?;
        if event.is_stored {
            self.stored.push(row);
        } else {
            self.new.push(row);
        }
        for snapshot in &event.snapshots {
            let mut changes = Vec::with_capacity(snapshot.changes.len());
            for (event_type, state_key, event) in &snapshot.changes {
                changes.push(((lookups.event_type(tx, event_type)?, lookups.state_key(tx, state_key)?), *event));
            }
            self.snapshots.add(tx, room, snapshot.parent, snapshot.snapshot, changes)?;
        }
        Ok(())
    }

    /// Adds the relation of an event to another, if it has one.
    pub(super) fn add_relation(
        &mut self,
        tx: &mut Tx<'_>,
        lookups: &mut Lookups<'_>,
        room: RoomNid,
        event: &JudgedEvent,
        position: Option<Position>,
    ) -> Result<(), DbError> {
        let Some((target, rel_type)) = relation_of(&event.pdu) else { return Ok(()) };
        self.relations.push(RelationRow {
            event_nid: event.nid,
            room_nid: room,
            sender_nid: lookups.user(tx, event.pdu.sender())?,
            position,
            target: event_key::encode(&target),
            rel_type: rel_type.to_owned(),
        });
        Ok(())
    }

    /// Notes a redaction whose target is not in the timeline yet; nothing for other events.
    pub(super) fn add_early_redaction(&mut self, event: &JudgedEvent) {
        if let Some(target) = redaction_target(&event.pdu) {
            self.early_redactions.push((event_key::encode(target), event.nid));
        }
    }

    /// Writes the rows.
    pub(super) fn write(self, tx: &mut Tx<'_>) -> Result<state_snapshots::Written, DbError> {
        repo::events::insert(tx, &self.new)?;
        repo::events::place(tx, &self.stored)?;
        let snapshots = self.snapshots.finish(tx)?;
        repo::relations::insert(tx, &self.relations)?;
        repo::redactions::add_early(tx, &self.early_redactions)?;
        Ok(snapshots)
    }
}
