//! Which events relate to which.

use crate::db::{Any, ToSql};
use crate::{DbError, EventNid, Position, RoomNid, Tx};

/// One relation, to be stored.
#[derive(Debug, Clone)]
pub struct RelationRow {
    pub event_nid: EventNid,
    pub room_nid: RoomNid,
    /// The target's stored id, see [`crate::event_key`].
    pub target: Vec<u8>,
    pub rel_type: String,
}

/// Stores relations.
pub fn insert(tx: &mut Tx<'_>, rows: &[RelationRow]) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO event_relations (event_nid, room_nid, target, rel_type) VALUES ($1, $2, $3, $4)",
        rows.iter().map(|row| {
            [
                row.event_nid.to_param(),
                row.room_nid.to_param(),
                row.target.to_param(),
                row.rel_type.as_bytes().to_param(),
            ]
        }),
    )?;
    Ok(())
}

/// A timeline event that relates to another and has not been redacted.
#[derive(Debug, Clone)]
pub struct Related {
    pub target: Vec<u8>,
    pub event_nid: EventNid,
    pub position: Position,
    pub rel_type: Vec<u8>,
    pub sender: String,
    pub event_type: Vec<u8>,
}

/// What relates to the targets, in the order of the timeline.
pub fn of_targets(tx: &mut Tx<'_>, room: RoomNid, targets: &[Vec<u8>]) -> Result<Vec<Related>, DbError> {
    tx.query(
        "SELECT r.target, r.event_nid, e.position, r.rel_type, u.user_id, t.event_type
         FROM event_relations r
         JOIN events e ON e.event_nid = r.event_nid
         JOIN user_ids u ON u.user_nid = e.sender_nid
         JOIN event_types t ON t.type_nid = e.type_nid
         WHERE r.target = ANY($1) AND r.room_nid = $2 AND e.position IS NOT NULL AND e.redacted_by IS NULL
         ORDER BY e.position",
        &[&Any(targets), &room],
        |row| {
            Ok(Related {
                target: row.get(0)?,
                event_nid: row.get(1)?,
                position: row.get(2)?,
                rel_type: row.get(3)?,
                sender: row.get(4)?,
                event_type: row.get(5)?,
            })
        },
    )
}

/// Whether an event is the root of a thread: whether the timeline has a reply to it that has not been redacted.
pub fn is_thread_root(tx: &mut Tx<'_>, room: RoomNid, event: &[u8]) -> Result<bool, DbError> {
    let reply = tx.query_opt(
        "SELECT 1 FROM event_relations r JOIN events e ON e.event_nid = r.event_nid
         WHERE r.target = $1 AND r.room_nid = $2 AND r.rel_type = $3 AND e.position IS NOT NULL
             AND e.redacted_by IS NULL LIMIT 1",
        &[&event, &room, &"m.thread".as_bytes()],
        |row| row.get::<i64>(0),
    )?;
    Ok(reply.is_some())
}

/// The roots of the room's threads: stored id and the position of the newest reply, newest first. Only replies at or
/// before `upto` count, and only threads whose newest reply lies before `before`. `participant`: only those the user
/// has replied to or begun.
pub fn thread_roots(
    tx: &mut Tx<'_>,
    room: RoomNid,
    participant: Option<&str>,
    (upto, before): (Position, Position),
    limit: u32,
) -> Result<Vec<(Vec<u8>, Position)>, DbError> {
    tx.query(
        "SELECT r.target, MAX(e.position) AS latest
         FROM event_relations r JOIN events e ON e.event_nid = r.event_nid
         WHERE r.room_nid = $1 AND r.rel_type = $2 AND e.position IS NOT NULL AND e.redacted_by IS NULL
             AND e.position <= $6
             AND (CAST($3 AS TEXT) IS NULL
                 OR EXISTS (SELECT 1 FROM event_relations r2
                     JOIN events e2 ON e2.event_nid = r2.event_nid
                     JOIN user_ids u2 ON u2.user_nid = e2.sender_nid
                     WHERE r2.target = r.target AND r2.rel_type = $2 AND u2.user_id = $3
                         AND e2.redacted_by IS NULL)
                 OR EXISTS (SELECT 1 FROM events e3
                     JOIN user_ids u3 ON u3.user_nid = e3.sender_nid
                     WHERE e3.event_id = r.target AND u3.user_id = $3))
         GROUP BY r.target HAVING MAX(e.position) < $4
         ORDER BY latest DESC LIMIT $5",
        &[&room, &"m.thread".as_bytes(), &participant, &before, &limit, &upto],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
