//! Gaps in rooms' timelines: places where events are missing that other servers have.

use crate::db::ToSql;
use crate::{DbError, EventNid, Position, RoomNid, Row, Tx, first};

/// How many positions are reserved before the event after a gap. Timelines have so few gaps that positions stay below
/// 2^53, the largest integer that every JSON parser can represent.
pub const RESERVED: Position = 1 << 20;

/// The number of the gap before the start of a timeline, where this server joined the room. It has no row.
pub const START: EventNid = 0;

/// A gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The number of the event that revealed it.
    pub gap_nid: EventNid,
    /// That event's depth, as far as it is trusted.
    pub depth: i64,
    /// That event's position: the first one after the gap.
    pub top: Position,
    /// The lowest position of a fetched event; `top` when there is none.
    pub lowest: Position,
    /// Whether events are still missing, directly before `lowest`.
    pub is_open: bool,
}

impl Gap {
    /// Returns the last position before the gap.
    #[must_use]
    pub fn floor(&self) -> Position {
        self.top - RESERVED - 1
    }

    /// Whether all reserved positions are used.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lowest <= self.floor() + 1
    }

    /// Whether a position is one of the reserved ones.
    #[must_use]
    pub fn covers(&self, position: Position) -> bool {
        self.floor() < position && position < self.top
    }
}

fn gap(row: &Row<'_>) -> Result<Gap, DbError> {
    Ok(Gap { gap_nid: row.get(0)?, depth: row.get(1)?, top: row.get(2)?, lowest: row.get(3)?, is_open: row.get(4)? })
}

/// Returns the gaps of a room's timeline, including closed ones, oldest first.
pub fn of_room(tx: &mut Tx<'_>, room: RoomNid) -> Result<Vec<Gap>, DbError> {
    tx.query(
        "SELECT gap_nid, depth, top, lowest, is_open FROM timeline_gaps WHERE room_nid = $1 ORDER BY top",
        &[&room],
        gap,
    )
}

/// Stores a gap or its progress.
pub fn set(tx: &mut Tx<'_>, room: RoomNid, gap: &Gap) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO timeline_gaps (gap_nid, room_nid, depth, top, lowest, is_open) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (gap_nid) DO UPDATE SET lowest = excluded.lowest, is_open = excluded.is_open",
        &[&gap.gap_nid, &room, &gap.depth, &gap.top, &gap.lowest, &gap.is_open],
    )?;
    Ok(())
}

/// Returns the events with prev events that are missing in a gap, in no particular order.
pub fn backward_extremities(tx: &mut Tx<'_>, room: RoomNid, gap: EventNid) -> Result<Vec<EventNid>, DbError> {
    tx.query("SELECT event_nid FROM backward_extremities WHERE room_nid = $1 AND gap_nid = $2", &[&room, &gap], first)
}

/// Records that prev events of these events are missing in a gap, unless they are recorded for another gap.
pub fn add_backward_extremities(
    tx: &mut Tx<'_>,
    room: RoomNid,
    gap: EventNid,
    events: &[EventNid],
) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO backward_extremities (event_nid, room_nid, gap_nid) VALUES ($1, $2, $3)
         ON CONFLICT (event_nid) DO NOTHING",
        events.iter().map(|event| [event.to_param(), room.to_param(), gap.to_param()]),
    )?;
    Ok(())
}

/// Records that no prev events of these events are missing in a gap any more.
pub fn remove_backward_extremities(tx: &mut Tx<'_>, gap: EventNid, events: &[EventNid]) -> Result<(), DbError> {
    tx.insert_many_later(
        "DELETE FROM backward_extremities WHERE event_nid = $1 AND gap_nid = $2",
        events.iter().map(|event| [event.to_param(), gap.to_param()]),
    )?;
    Ok(())
}
