//! Relations between events. A redacted event has no relation.

use crate::db::{Any, ToSql};
use crate::{DbError, EventNid, Position, RoomNid, Row, Tx, UserNid, first};

/// A relation.
#[derive(Debug, Clone)]
pub struct RelationRow {
    pub event_nid: EventNid,
    pub room_nid: RoomNid,
    pub sender_nid: UserNid,
    /// The event's position.
    pub position: Option<Position>,
    /// The target's stored id, see [`crate::event_key`].
    pub target: Vec<u8>,
    pub rel_type: String,
}

/// Stores relations.
pub fn insert(tx: &mut Tx<'_>, rows: &[RelationRow]) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO event_relations (event_nid, room_nid, sender_nid, position, target, rel_type)
         VALUES ($1, $2, $3, $4, $5, $6)",
        rows.iter().map(|row| {
            [
                row.event_nid.to_param(),
                row.room_nid.to_param(),
                row.sender_nid.to_param(),
                row.position.to_param(),
                row.target.to_param(),
                row.rel_type.as_bytes().to_param(),
            ]
        }),
    )?;
    Ok(())
}

/// A timeline event that relates to another.
#[derive(Debug, Clone)]
pub struct Related {
    pub target: Vec<u8>,
    pub event_nid: EventNid,
    pub position: Position,
    pub rel_type: Vec<u8>,
    pub sender: String,
    pub event_type: Vec<u8>,
}

/// The number of events of a type that relate to another event.
#[derive(Debug, Clone)]
pub struct RelatedCount {
    pub target: Vec<u8>,
    pub rel_type: Vec<u8>,
    pub count: u64,
}

/// Returns how many events of each of `rel_types` relate to each of the targets.
pub fn counts(
    tx: &mut Tx<'_>,
    room: RoomNid,
    targets: &[Vec<u8>],
    rel_types: &[Vec<u8>],
) -> Result<Vec<RelatedCount>, DbError> {
    tx.query(
        "SELECT target, rel_type, COUNT(*) FROM event_relations
         WHERE target = ANY($1) AND rel_type = ANY($3) AND room_nid = $2 AND position IS NOT NULL
         GROUP BY target, rel_type",
        &[&Any(targets), &room, &Any(rel_types)],
        |row| Ok(RelatedCount { target: row.get(0)?, rel_type: row.get(1)?, count: row.get(2)? }),
    )
}

/// Returns the newest `limit` events that relate to the targets, newest first.
pub fn of_targets(tx: &mut Tx<'_>, room: RoomNid, targets: &[Vec<u8>], limit: usize) -> Result<Vec<Related>, DbError> {
    tx.query(
        "SELECT r.target, r.event_nid, r.position, r.rel_type, u.user_id, t.event_type
         FROM event_relations r
         JOIN events e ON e.event_nid = r.event_nid
         JOIN user_ids u ON u.user_nid = r.sender_nid
         JOIN event_types t ON t.type_nid = e.type_nid
         WHERE r.target = ANY($1) AND r.room_nid = $2 AND r.position IS NOT NULL
         ORDER BY r.position DESC LIMIT $3",
        &[&Any(targets), &room, &(limit as u64)],
        related,
    )
}

/// Returns the newest `limit` events that relate to the target by `rel_type`, newest first.
pub fn newest(
    tx: &mut Tx<'_>,
    room: RoomNid,
    target: &[u8],
    rel_type: &[u8],
    limit: usize,
) -> Result<Vec<Related>, DbError> {
    tx.query(
        "SELECT r.target, r.event_nid, r.position, r.rel_type, u.user_id, t.event_type
         FROM event_relations r
         JOIN events e ON e.event_nid = r.event_nid
         JOIN user_ids u ON u.user_nid = r.sender_nid
         JOIN event_types t ON t.type_nid = e.type_nid
         WHERE r.target = $1 AND r.rel_type = $3 AND r.room_nid = $2 AND r.position IS NOT NULL
         ORDER BY r.position DESC LIMIT $4",
        &[&target, &room, &rel_type, &(limit as u64)],
        related,
    )
}

/// Returns the newest `limit` events by which `sender` relates to the target by `rel_type`, newest first.
pub fn newest_of_sender(
    tx: &mut Tx<'_>,
    room: RoomNid,
    target: &[u8],
    sender: &str,
    rel_type: &[u8],
    limit: usize,
) -> Result<Vec<Related>, DbError> {
    tx.query(
        "SELECT r.target, r.event_nid, r.position, r.rel_type, u.user_id, t.event_type
         FROM event_relations r
         JOIN events e ON e.event_nid = r.event_nid
         JOIN user_ids u ON u.user_nid = r.sender_nid
         JOIN event_types t ON t.type_nid = e.type_nid
         WHERE r.target = $1 AND r.sender_nid = (SELECT user_nid FROM user_ids WHERE user_id = $3)
             AND r.rel_type = $4 AND r.room_nid = $2 AND r.position IS NOT NULL
         ORDER BY r.position DESC LIMIT $5",
        &[&target, &room, &sender, &rel_type, &(limit as u64)],
        related,
    )
}

/// Selects a page of the events that relate to an event.
#[derive(Debug, Clone, Default)]
pub struct PageQuery {
    /// The target's stored id.
    pub target: Vec<u8>,
    pub rel_type: Option<Vec<u8>>,
    /// The related events' type.
    pub event_type: Option<Vec<u8>>,
    /// Only positions greater than this.
    pub after: Position,
    pub upto: Position,
    pub limit: u64,
    pub oldest_first: bool,
}

macro_rules! page {
    ($rel_type:literal, $order:literal) => {
        concat!(
            "SELECT r.target, r.event_nid, r.position, r.rel_type, u.user_id, t.event_type
             FROM event_relations r
             JOIN events e ON e.event_nid = r.event_nid
             JOIN user_ids u ON u.user_nid = r.sender_nid
             JOIN event_types t ON t.type_nid = e.type_nid
             WHERE r.target = $1 AND r.room_nid = $2 AND r.position > $3 AND r.position <= $4
                 AND (CAST($5 AS BYTEA) IS NULL OR t.event_type = $5)",
            $rel_type,
            " ORDER BY r.position ",
            $order,
            " LIMIT $6"
        )
    };
}

/// Returns the first `limit` events of a page.
pub fn page(tx: &mut Tx<'_>, room: RoomNid, query: &PageQuery) -> Result<Vec<Related>, DbError> {
    let PageQuery { target, rel_type, event_type, after, upto, limit, oldest_first } = query;
    match (rel_type, oldest_first) {
        (None, false) => tx.query(page!("", "DESC"), &[target, &room, after, upto, event_type, limit], related),
        (None, true) => tx.query(page!("", "ASC"), &[target, &room, after, upto, event_type, limit], related),
        (Some(rel_type), false) => tx.query(
            page!(" AND r.rel_type = $7", "DESC"),
            &[target, &room, after, upto, event_type, limit, rel_type],
            related,
        ),
        (Some(rel_type), true) => tx.query(
            page!(" AND r.rel_type = $7", "ASC"),
            &[target, &room, after, upto, event_type, limit, rel_type],
            related,
        ),
    }
}

fn related(row: &Row<'_>) -> Result<Related, DbError> {
    Ok(Related {
        target: row.get(0)?,
        event_nid: row.get(1)?,
        position: row.get(2)?,
        rel_type: row.get(3)?,
        sender: row.get(4)?,
        event_type: row.get(5)?,
    })
}

/// Whether an event of the timeline relates to the target.
pub fn is_target(tx: &mut Tx<'_>, room: RoomNid, target: &[u8]) -> Result<bool, DbError> {
    let found: Option<i64> = tx.query_opt(
        "SELECT 1 FROM event_relations WHERE target = $1 AND room_nid = $2 AND position IS NOT NULL LIMIT 1",
        &[&target, &room],
        first,
    )?;
    Ok(found.is_some())
}

/// Whether an event is the root of a thread, that is, whether the timeline has a reply to it.
pub fn is_thread_root(tx: &mut Tx<'_>, room: RoomNid, event: &[u8]) -> Result<bool, DbError> {
    let reply: Option<i64> = tx.query_opt(
        "SELECT 1 FROM event_relations
         WHERE target = $1 AND room_nid = $2 AND rel_type = $3 AND position IS NOT NULL LIMIT 1",
        &[&event, &room, &"m.thread".as_bytes()],
        first,
    )?;
    Ok(reply.is_some())
}

/// Sets the positions of relations to the new positions of their events.
pub fn set_positions(tx: &mut Tx<'_>, positions: &[(EventNid, Position)]) -> Result<(), DbError> {
    tx.insert_many_later(
        "UPDATE event_relations SET position = $2 WHERE event_nid = $1",
        positions.iter().map(|(event, position)| [event.to_param(), position.to_param()]),
    )?;
    Ok(())
}

/// Deletes the relation of a redacted event.
pub fn remove(tx: &mut Tx<'_>, event: EventNid) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM event_relations WHERE event_nid = $1", &[&event])?;
    Ok(())
}

/// Returns the roots of the room's threads: stored id and the position of the newest reply, newest first. Only counts
/// replies at or before `upto`, and only threads whose newest reply lies before `before`. `participant`: only threads
/// that the user has started or replied to.
pub fn thread_roots(
    tx: &mut Tx<'_>,
    room: RoomNid,
    participant: Option<&str>,
    (upto, before): (Position, Position),
    limit: u32,
) -> Result<Vec<(Vec<u8>, Position)>, DbError> {
    tx.query(
        "SELECT r.target, MAX(r.position) AS latest
         FROM event_relations r
         WHERE r.room_nid = $1 AND r.rel_type = $2 AND r.position IS NOT NULL AND r.position <= $6
             AND (CAST($3 AS TEXT) IS NULL
                 OR EXISTS (SELECT 1 FROM event_relations r2
                     WHERE r2.target = r.target AND r2.rel_type = $2
                         AND r2.sender_nid = (SELECT user_nid FROM user_ids WHERE user_id = $3))
                 OR EXISTS (SELECT 1 FROM events e3
                     JOIN user_ids u3 ON u3.user_nid = e3.sender_nid
                     WHERE e3.event_id = r.target AND u3.user_id = $3))
         GROUP BY r.target HAVING MAX(r.position) < $4
         ORDER BY latest DESC LIMIT $5",
        &[&room, &"m.thread".as_bytes(), &participant, &before, &limit, &upto],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
