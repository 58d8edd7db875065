//! Events.

mod outline;

use crate::db::{Any, Param, ToSql, ValueRef};
use crate::pdu_json::{self, UnpackError};
use crate::{DbError, EventNid, Position, RoomNid, Row, SnapshotNid, StateKeyNid, Tx, TypeNid, UserNid, first};

pub use outline::{Outline, outline};

/// In place of the redaction of an event that has expired: there is none.
const NO_REDACTION: EventNid = 0;

/// An event to be stored.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub event_nid: EventNid,
    /// See [`crate::event_key`].
    pub event_id: Vec<u8>,
    pub room_nid: RoomNid,
    pub position: Option<Position>,
    /// Whether its time is out of order in the timeline: see [`near_time`].
    pub late: bool,
    pub depth: i64,
    pub type_nid: TypeNid,
    pub state_key_nid: Option<StateKeyNid>,
    pub sender_nid: UserNid,
    /// Unix ms, clamped to 63 bits because other servers may send anything.
    pub origin_server_ts: i64,
    /// State before the event; `None` for an outlier.
    pub snapshot_nid: Option<SnapshotNid>,
    pub verdict: Verdict,
    /// See [`pdu_json`].
    pub json: Vec<u8>,
}

/// The result of the authorization rules for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed by its auth events, the state before it and the current state.
    Accepted,
    /// Allowed by the state before it but not by the current state
    /// ([Soft failure](https://spec.matrix.org/v1.19/server-server-api/#soft-failure)).
    SoftFailed,
    /// Not allowed by its auth events or the state before it
    /// ([Rejection](https://spec.matrix.org/v1.19/server-server-api/#rejection)).
    Rejected,
}

impl Verdict {
    /// Parses the stored value; an unknown one counts as rejected.
    pub(super) fn from_code(code: i64) -> Self {
        match code {
            0 => Self::Accepted,
            1 => Self::SoftFailed,
            _ => Self::Rejected,
        }
    }
}

impl ToSql for Verdict {
    fn to_param(&self) -> Param<'_> {
        Param::Int(match self {
            Self::Accepted => 0,
            Self::SoftFailed => 1,
            Self::Rejected => 2,
        })
    }
}

/// Stores new events.
pub fn insert(tx: &mut Tx<'_>, events: &[NewEvent]) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO events (event_nid, event_id, room_nid, position, depth, type_nid, state_key_nid, sender_nid,
             origin_server_ts, snapshot_nid, verdict, json, late)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        events.iter().map(|event| {
            [
                event.event_nid.to_param(),
                event.event_id.to_param(),
                event.room_nid.to_param(),
                event.position.to_param(),
                event.depth.to_param(),
                event.type_nid.to_param(),
                event.state_key_nid.to_param(),
                event.sender_nid.to_param(),
                event.origin_server_ts.to_param(),
                event.snapshot_nid.to_param(),
                event.verdict.to_param(),
                event.json.to_param(),
                late(event),
            ]
        }),
    )?;
    Ok(())
}

/// Adds events that were stored as outliers to the graph. Other columns stay unchanged.
pub fn place(tx: &mut Tx<'_>, events: &[NewEvent]) -> Result<(), DbError> {
    tx.insert_many_later(
        "UPDATE events SET position = $2, snapshot_nid = $3, verdict = $4, late = $5 WHERE event_nid = $1",
        events.iter().map(|event| {
            [
                event.event_nid.to_param(),
                event.position.to_param(),
                event.snapshot_nid.to_param(),
                event.verdict.to_param(),
                late(event),
            ]
        }),
    )?;
    Ok(())
}

/// NULL keeps an event out of the index `events_late`.
fn late(event: &NewEvent) -> Param<'_> {
    if event.late { Param::Int(1) } else { Param::Null }
}

/// Records that an event has been redacted; the first redaction counts.
pub fn set_redacted(tx: &mut Tx<'_>, event: EventNid, redaction: EventNid) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE events SET redacted_by = $2 WHERE event_nid = $1 AND redacted_by IS NULL",
        &[&event, &redaction],
    )?;
    super::relations::remove(tx, event)?;
    // Removes a redacted name from the user directory. The sender of a join is the member.
    tx.execute_later(
        "UPDATE memberships SET directory_stale = 1
         WHERE event_nid = $1 AND membership = 1
             AND user_nid = (SELECT sender_nid FROM events WHERE event_nid = $1)
             AND room_nid = (SELECT room_nid FROM events WHERE event_nid = $1)",
        &[&event],
    )?;
    Ok(())
}

/// Records that the content of an event has expired: it counts as redacted, by no event.
pub fn set_expired(tx: &mut Tx<'_>, event: EventNid) -> Result<(), DbError> {
    set_redacted(tx, event, NO_REDACTION)?;
    // The log has nothing from which the index would learn of it.
    super::search_progress::queue(tx, [event])
}

/// Returns those of some events that have been redacted.
pub fn redacted_among(tx: &mut Tx<'_>, events: &[EventNid]) -> Result<Vec<EventNid>, DbError> {
    tx.query(
        "SELECT event_nid FROM events WHERE event_nid = ANY($1) AND redacted_by IS NOT NULL",
        &[&Any(events)],
        first,
    )
}

/// Returns the positions among `positions` of a room's timeline whose events have been redacted.
pub fn redacted_at(tx: &mut Tx<'_>, room: RoomNid, positions: &[Position]) -> Result<Vec<Position>, DbError> {
    tx.query(
        "SELECT position FROM events WHERE room_nid = $1 AND position = ANY($2) AND redacted_by IS NOT NULL",
        &[&room, &Any(positions)],
        first,
    )
}

/// A stored event with its timeline data.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    pub event_nid: EventNid,
    /// See [`crate::event_key`].
    pub event_id: Vec<u8>,
    pub room_nid: RoomNid,
    /// `None`: not in the timeline.
    pub position: Option<Position>,
    /// `origin_server_ts`, unless the event is late (see [`near_time`]).
    pub ts_in_order: Option<i64>,
    pub redacted_by: Option<EventNid>,
    /// The exact JSON, if it can be read.
    pub json: Result<String, UnpackError>,
    /// The state event that it replaced in the current state.
    pub replaced: Option<EventNid>,
    /// Device and transaction id of the request that created it.
    pub transaction: Option<(String, Vec<u8>)>,
}

/// Reads an event's JSON from a column. JSON that cannot be read is a separate error, so that the other rows can still
/// be read.
pub(super) fn unpacked(row: &Row<'_>, column: usize) -> Result<Result<String, UnpackError>, DbError> {
    match row.value_at(column)? {
        ValueRef::Blob(bytes) => Ok(pdu_json::unpack(bytes)),
        _ => Ok(Err(UnpackError::Short)),
    }
}

/// The query for [`stored`], with the part after its joins.
macro_rules! select_stored {
    ($rest:literal) => {
        concat!(
            "SELECT e.event_nid, e.event_id, e.room_nid, e.position, e.redacted_by, e.json, d.prev_event_nid,
             t.device_id, t.txn_id, CASE WHEN e.late IS NULL THEN e.origin_server_ts END
         FROM events e
         LEFT JOIN current_state_deltas d ON d.room_nid = e.room_nid AND d.type_nid = e.type_nid
             AND d.state_key_nid = e.state_key_nid AND d.position = e.position
         LEFT JOIN event_transactions t ON t.event_nid = e.event_nid
         ",
            $rest
        )
    };
}

fn stored(row: &Row<'_>) -> Result<StoredEvent, DbError> {
    let device: Option<String> = row.get(7)?;
    let txn_id: Option<Vec<u8>> = row.get(8)?;
    Ok(StoredEvent {
        event_nid: row.get(0)?,
        event_id: row.get(1)?,
        room_nid: row.get(2)?,
        position: row.get(3)?,
        ts_in_order: row.get(9)?,
        redacted_by: row.get(4)?,
        json: unpacked(row, 5)?,
        replaced: row.get(6)?,
        transaction: device.zip(txn_id),
    })
}

/// Returns events by number, in no particular order; unknown numbers are ignored.
pub fn by_nids(tx: &mut Tx<'_>, nids: &[EventNid]) -> Result<Vec<StoredEvent>, DbError> {
    tx.query(select_stored!("WHERE e.event_nid = ANY($1)"), &[&Any(nids)], stored)
}

/// Returns the timeline events with `after < position <= upto`, the newest `limit` of them, newest first.
pub fn newest(
    tx: &mut Tx<'_>,
    room: RoomNid,
    after: Position,
    upto: Position,
    limit: u64,
) -> Result<Vec<StoredEvent>, DbError> {
    tx.query(
        select_stored!(
            "WHERE e.room_nid = $1 AND e.position > $2 AND e.position <= $3
             ORDER BY e.position DESC LIMIT $4"
        ),
        &[&room, &after, &upto, &limit],
        stored,
    )
}

/// Returns the timeline events with `after < position <= upto`, the oldest `limit` of them, oldest first.
pub fn oldest(
    tx: &mut Tx<'_>,
    room: RoomNid,
    after: Position,
    upto: Position,
    limit: u64,
) -> Result<Vec<StoredEvent>, DbError> {
    tx.query(
        select_stored!(
            "WHERE e.room_nid = $1 AND e.position > $2 AND e.position <= $3
             ORDER BY e.position LIMIT $4"
        ),
        &[&room, &after, &upto, &limit],
        stored,
    )
}

/// The location of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub event_nid: EventNid,
    pub room_nid: RoomNid,
    pub position: Option<Position>,
    pub redacted_by: Option<EventNid>,
}

/// Finds an event by its stored id (see [`crate::event_key`]).
pub fn find(tx: &mut Tx<'_>, event_id: &[u8]) -> Result<Option<Place>, DbError> {
    tx.query_opt(
        "SELECT event_nid, room_nid, position, redacted_by FROM events WHERE event_id = $1",
        &[&event_id],
        |row| {
            Ok(Place { event_nid: row.get(0)?, room_nid: row.get(1)?, position: row.get(2)?, redacted_by: row.get(3)? })
        },
    )
}

/// An event as a node of its room's graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphNode {
    pub event_nid: EventNid,
    /// See [`crate::event_key`].
    pub event_id: Vec<u8>,
    pub room_nid: RoomNid,
    pub position: Option<Position>,
    pub depth: i64,
    pub is_state: bool,
    /// State before the event; `None` for an outlier.
    pub snapshot_nid: Option<SnapshotNid>,
    pub verdict: Verdict,
}

impl GraphNode {
    /// Whether the event is in a room's graph: the state before it is known.
    pub fn is_in_graph(&self, room: RoomNid) -> bool {
        self.snapshot_nid.is_some() && self.room_nid == room
    }

    /// Whether the event is in a room's graph and, if clients see it, in the timeline.
    pub fn has_place(&self, room: RoomNid) -> bool {
        self.is_in_graph(room) && (self.position.is_some() || self.verdict != Verdict::Accepted)
    }
}

/// Finds events by their stored ids; unknown ones are ignored.
pub fn known(tx: &mut Tx<'_>, event_ids: &[Vec<u8>]) -> Result<Vec<GraphNode>, DbError> {
    tx.query(
        "SELECT event_nid, event_id, room_nid, position, depth, state_key_nid, snapshot_nid, verdict
         FROM events WHERE event_id = ANY($1)",
        &[&Any(event_ids)],
        graph_node,
    )
}

/// Reads `event_nid, event_id, room_nid, position, depth, state_key_nid, snapshot_nid, verdict`.
pub(super) fn graph_node(row: &Row<'_>) -> Result<GraphNode, DbError> {
    Ok(GraphNode {
        event_nid: row.get(0)?,
        event_id: row.get(1)?,
        room_nid: row.get(2)?,
        position: row.get(3)?,
        depth: row.get(4)?,
        is_state: row.get::<Option<StateKeyNid>>(5)?.is_some(),
        snapshot_nid: row.get(6)?,
        verdict: Verdict::from_code(row.get(7)?),
    })
}

/// An event without timeline data.
#[derive(Debug, Clone)]
pub struct BareEvent {
    pub event_nid: EventNid,
    /// See [`crate::event_key`].
    pub event_id: Vec<u8>,
    pub room_nid: RoomNid,
    pub verdict: Verdict,
    /// The exact JSON, if it can be read.
    pub json: Result<String, UnpackError>,
}

fn bare(row: &Row<'_>) -> Result<BareEvent, DbError> {
    Ok(BareEvent {
        event_nid: row.get(0)?,
        event_id: row.get(1)?,
        room_nid: row.get(2)?,
        verdict: Verdict::from_code(row.get(3)?),
        json: unpacked(row, 4)?,
    })
}

/// Returns events by number, including outliers, in no particular order; unknown numbers are ignored.
pub fn bare_by_nids(tx: &mut Tx<'_>, nids: &[EventNid]) -> Result<Vec<BareEvent>, DbError> {
    tx.query(
        "SELECT event_nid, event_id, room_nid, verdict, json FROM events WHERE event_nid = ANY($1)",
        &[&Any(nids)],
        bare,
    )
}

/// Returns events by stored id, including outliers, in no particular order; unknown ids are ignored.
pub fn bare_by_ids(tx: &mut Tx<'_>, event_ids: &[Vec<u8>]) -> Result<Vec<BareEvent>, DbError> {
    tx.query(
        "SELECT event_nid, event_id, room_nid, verdict, json FROM events WHERE event_id = ANY($1)",
        &[&Any(event_ids)],
        bare,
    )
}

/// Returns the lowest position in a room's timeline; 0 when it has none.
pub fn lowest_position(tx: &mut Tx<'_>, room: RoomNid) -> Result<Position, DbError> {
    let lowest = tx.query_opt(
        "SELECT position FROM events WHERE room_nid = $1 AND position IS NOT NULL ORDER BY position LIMIT 1",
        &[&room],
        first,
    )?;
    Ok(lowest.unwrap_or(0))
}

/// Returns the depth of the first event of a room's timeline that arrived live.
pub fn first_depth(tx: &mut Tx<'_>, room: RoomNid) -> Result<Option<i64>, DbError> {
    tx.query_opt(
        "SELECT depth FROM events WHERE room_nid = $1 AND position > 0 ORDER BY position LIMIT 1",
        &[&room],
        first,
    )
}

/// Returns the time of the newest live event of a room that is not late (see [`near_time`]); `None` when the newest
/// thousand are all late.
pub fn latest_ts(tx: &mut Tx<'_>, room: RoomNid) -> Result<Option<i64>, DbError> {
    tx.query_one(
        "SELECT MAX(origin_server_ts) FROM
             (SELECT origin_server_ts, late FROM events WHERE room_nid = $1 AND position > 0
              ORDER BY position DESC LIMIT 1000) AS newest
         WHERE late IS NULL",
        &[&room],
        first,
    )
}

/// Adds events to the timeline before those that arrived live, at these positions.
pub fn set_past_positions(tx: &mut Tx<'_>, positions: &[(EventNid, Position)]) -> Result<(), DbError> {
    tx.insert_many_later(
        "UPDATE events SET position = $2, late = 1 WHERE event_nid = $1",
        positions.iter().map(|(event, position)| [event.to_param(), position.to_param()]),
    )?;
    super::search_progress::queue(tx, positions.iter().map(|(event, _)| *event))?;
    super::relations::set_positions(tx, positions)
}

/// A timeline event by its time and position.
type Timed = (i64, Position, EventNid);

fn timed(row: &Row<'_>) -> Result<Timed, DbError> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// Returns the timeline event nearest to a time: the first at or after it, or the last at or before it.
///
/// Only late events are in an index of times. The others are all live, and their `origin_server_ts` never decreases as
/// the position increases, so they are found by binary search.
///
/// An index of all times would make this one query, but cost 19 bytes and 4 µs of processor time per event (measured on
/// SQLite), for an endpoint that is rarely called.
pub fn near_time(tx: &mut Tx<'_>, room: RoomNid, ts: i64, forward: bool) -> Result<Option<EventNid>, DbError> {
    let in_order = near_time_in_order(tx, room, ts, forward)?;
    let nearest = if forward {
        let late = tx.query_opt(
            "SELECT origin_server_ts, position, event_nid FROM events
             WHERE room_nid = $1 AND origin_server_ts >= $2 AND late IS NOT NULL
             ORDER BY origin_server_ts, position LIMIT 1",
            &[&room, &ts],
            timed,
        )?;
        late.into_iter().chain(in_order).min()
    } else {
        let late = tx.query_opt(
            "SELECT origin_server_ts, position, event_nid FROM events
             WHERE room_nid = $1 AND origin_server_ts <= $2 AND late IS NOT NULL
             ORDER BY origin_server_ts DESC, position DESC LIMIT 1",
            &[&room, &ts],
            timed,
        )?;
        late.into_iter().chain(in_order).max()
    };
    Ok(nearest.map(|(.., event)| event))
}

/// Like [`near_time`], among the events that are not late.
fn near_time_in_order(tx: &mut Tx<'_>, room: RoomNid, ts: i64, forward: bool) -> Result<Option<Timed>, DbError> {
    let newest: Option<Position> = tx.query_opt(
        "SELECT position FROM events WHERE room_nid = $1 AND position > 0 ORDER BY position DESC LIMIT 1",
        &[&room],
        first,
    )?;
    // The result is between these positions, or one of the events seen so far: the last before it, the first after it.
    let (mut low, mut high) = (1, newest.unwrap_or(0));
    let (mut before, mut after) = (None, None);
    while low <= high {
        let middle = low + (high - low) / 2;
        // Not IS NULL: PostgreSQL assumes that to be rare in a column without statistics, and sorts the rest of the
        // room.
        let met = tx.query_opt(
            "SELECT origin_server_ts, position, event_nid FROM events
             WHERE room_nid = $1 AND position >= $2 AND position <= $3 AND late IS DISTINCT FROM 1
             ORDER BY position LIMIT 1",
            &[&room, &middle, &high],
            timed,
        )?;
        match met {
            Some((its_ts, position, _)) if its_ts < ts || (its_ts == ts && !forward) => {
                low = position + 1;
                before = met;
            }
            _ => {
                high = middle - 1;
                after = met.or(after);
            }
        }
    }
    Ok(if forward { after } else { before })
}
