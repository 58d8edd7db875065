//! Events that are sticky (MSC4354): clients and servers get them for a while, whatever else they have of the room.

use std::collections::HashMap;

use crate::db::{Any, ToSql};
use crate::{Change, DbError, EventNid, Position, RoomNid, Row, StickyEvent, Tx};

/// How many are deleted in one transaction: other writes wait for it.
const MAX_DELETED: u32 = 1_000;

fn sticky_event(row: &Row<'_>) -> Result<StickyEvent, DbError> {
    Ok(StickyEvent {
        event_nid: row.get(0)?,
        room_nid: row.get(1)?,
        position: row.get(2)?,
        expires_ts: row.get(3)?,
        bytes: row.get(4)?,
        is_own: row.get(5)?,
        soft_failed: row.get(6)?,
        sender: row.get(7)?,
    })
}

/// Adds events, and announces them.
pub fn add(tx: &mut Tx<'_>, events: &[StickyEvent]) -> Result<(), DbError> {
    if events.is_empty() {
        return Ok(());
    }
    events.iter().for_each(|event| tx.announce(Change::Sticky(*event)));
    tx.insert_many_later(
        "INSERT INTO sticky_events (event_nid, room_nid, position, expires_ts, bytes, is_own, soft_failed)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (event_nid) DO NOTHING",
        events.iter().map(|event| {
            [
                event.event_nid.to_param(),
                event.room_nid.to_param(),
                event.position.to_param(),
                event.expires_ts.to_param(),
                event.bytes.to_param(),
                event.is_own.to_param(),
                event.soft_failed.to_param(),
            ]
        }),
    )?;
    Ok(())
}

/// Returns all, in the order of their positions.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<StickyEvent>, DbError> {
    tx.query(
        "SELECT s.event_nid, s.room_nid, s.position, s.expires_ts, s.bytes, s.is_own, s.soft_failed, e.sender_nid
         FROM sticky_events s JOIN events e ON e.event_nid = s.event_nid
         ORDER BY s.position",
        &[],
        sticky_event,
    )
}

/// Returns until when those of some events are sticky that are, in Unix ms.
pub fn expiry_of(tx: &mut Tx<'_>, events: &[EventNid]) -> Result<HashMap<EventNid, u64>, DbError> {
    let rows = tx.query(
        "SELECT event_nid, expires_ts FROM sticky_events WHERE event_nid = ANY($1)",
        &[&Any(events)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(rows.into_iter().collect())
}

/// Returns those with `after < position <= upto`.
pub(super) fn between(tx: &mut Tx<'_>, after: Position, upto: Position) -> Result<Vec<StickyEvent>, DbError> {
    tx.query(
        "SELECT s.event_nid, s.room_nid, s.position, s.expires_ts, s.bytes, s.is_own, s.soft_failed, e.sender_nid
         FROM sticky_events s JOIN events e ON e.event_nid = s.event_nid
         WHERE s.position > $1 AND s.position <= $2",
        &[&after, &upto],
        sticky_event,
    )
}

/// Records and announces that the current state of a room allows soft-failed events after all.
pub fn allow(tx: &mut Tx<'_>, room: RoomNid, events: &[EventNid]) -> Result<(), DbError> {
    for event in events {
        let found = tx.query_opt(
            "SELECT s.event_nid, s.room_nid, s.position, s.expires_ts, s.bytes, s.is_own, s.soft_failed, e.sender_nid
             FROM sticky_events s JOIN events e ON e.event_nid = s.event_nid
             WHERE s.event_nid = $1 AND s.room_nid = $2 AND s.soft_failed = 1",
            &[event, &room],
            sticky_event,
        )?;
        let Some(found) = found else { continue };
        let allowed = StickyEvent { position: tx.next_position()?, soft_failed: false, ..found };
        tx.execute_later(
            "UPDATE sticky_events SET position = $2, soft_failed = 0 WHERE event_nid = $1",
            &[event, &allowed.position],
        )?;
        tx.announce(Change::Sticky(allowed));
    }
    Ok(())
}

/// Records and announces that an event is not sticky any more.
pub fn end(tx: &mut Tx<'_>, event: StickyEvent) -> Result<(), DbError> {
    let ended = StickyEvent { position: tx.next_position()?, expires_ts: 0, ..event };
    tx.execute_later(
        "UPDATE sticky_events SET position = $2, expires_ts = 0 WHERE event_nid = $1",
        &[&ended.event_nid, &ended.position],
    )?;
    tx.announce(Change::Sticky(ended));
    Ok(())
}

/// Deletes events that are not sticky any more. Returns whether none of them is left.
pub fn delete_expired(tx: &mut Tx<'_>, now_ms: u64) -> Result<bool, DbError> {
    let deleted = tx.execute(
        "DELETE FROM sticky_events WHERE event_nid IN (
             SELECT event_nid FROM sticky_events WHERE expires_ts <= $1 LIMIT $2)",
        &[&now_ms, &MAX_DELETED],
    )?;
    Ok(deleted < u64::from(MAX_DELETED))
}
