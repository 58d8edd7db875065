//! The current state of rooms and its history.

use std::collections::HashSet;

use plexus_protocol::membership::Membership;

use crate::db::{Param, ToSql};
use crate::{Any, DbError, EventNid, Position, RoomNid, StateKeyNid, Tx, TypeNid, first, readable};

/// One entry of a room's current state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    pub event_type: String,
    pub state_key: String,
    pub event_nid: EventNid,
    /// For `m.room.member`.
    pub membership: Option<Membership>,
}

/// Returns the whole current state.
pub fn all(tx: &mut Tx<'_>, room: RoomNid) -> Result<Vec<StateRow>, DbError> {
    tx.query(
        "SELECT t.event_type, k.state_key, c.event_nid, c.membership
         FROM current_state c
         JOIN event_types t ON t.type_nid = c.type_nid
         JOIN state_keys k ON k.state_key_nid = c.state_key_nid
         WHERE c.room_nid = $1",
        &[&room],
        |row| {
            Ok(StateRow {
                event_type: row.get_with(0, String::from_utf8)?,
                state_key: row.get_with(1, String::from_utf8)?,
                event_nid: row.get(2)?,
                membership: readable(row.get(3)).flatten(),
            })
        },
    )
}

/// One change of a room's current state.
#[derive(Debug, Clone)]
pub struct Delta {
    pub room_nid: RoomNid,
    pub type_nid: TypeNid,
    pub state_key_nid: StateKeyNid,
    pub position: Position,
    /// `None`: the key was removed from the state.
    pub event_nid: Option<EventNid>,
    pub prev_event_nid: Option<EventNid>,
    /// For `m.room.member`.
    pub membership: Option<Membership>,
}

impl Delta {
    /// The columns of `current_state_deltas`.
    fn history_params(&self) -> [Param<'_>; 6] {
        [
            self.room_nid.to_param(),
            self.type_nid.to_param(),
            self.state_key_nid.to_param(),
            self.position.to_param(),
            self.event_nid.to_param(),
            self.prev_event_nid.to_param(),
        ]
    }

    /// The columns of `current_state`.
    fn entry_params(&self) -> [Param<'_>; 5] {
        [
            self.room_nid.to_param(),
            self.type_nid.to_param(),
            self.state_key_nid.to_param(),
            self.event_nid.to_param(),
            self.membership.to_param(),
        ]
    }
}

/// Stores changes, oldest first.
pub fn apply(tx: &mut Tx<'_>, deltas: &[Delta]) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO current_state_deltas (room_nid, type_nid, state_key_nid, position, event_nid, prev_event_nid)
         VALUES ($1, $2, $3, $4, $5, $6)",
        deltas.iter().map(Delta::history_params),
    )?;
    // The last change of a key is its current value; one statement may name a key only once.
    let mut last = std::collections::BTreeMap::new();
    for delta in deltas {
        last.insert((delta.room_nid, delta.type_nid, delta.state_key_nid), delta);
    }
    tx.insert_many_later(
        "INSERT INTO current_state (room_nid, type_nid, state_key_nid, event_nid, membership)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (room_nid, type_nid, state_key_nid)
         DO UPDATE SET event_nid = excluded.event_nid, membership = excluded.membership",
        last.values().filter(|delta| delta.event_nid.is_some()).map(|delta| delta.entry_params()),
    )?;
    tx.insert_many_later(
        "DELETE FROM current_state WHERE room_nid = $1 AND type_nid = $2 AND state_key_nid = $3",
        last.values()
            .filter(|delta| delta.event_nid.is_none())
            .map(|delta| [delta.room_nid.to_param(), delta.type_nid.to_param(), delta.state_key_nid.to_param()]),
    )?;
    Ok(())
}

/// Adds entries, with their changes, for keys that are not in the state yet. Returns the keys that were added.
pub fn fill(tx: &mut Tx<'_>, deltas: &[Delta]) -> Result<HashSet<(TypeNid, StateKeyNid)>, DbError> {
    let added: HashSet<(TypeNid, StateKeyNid)> = tx
        .insert_many_returning(
            "INSERT INTO current_state (room_nid, type_nid, state_key_nid, event_nid, membership)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (room_nid, type_nid, state_key_nid) DO NOTHING RETURNING type_nid, state_key_nid",
            deltas.iter().map(Delta::entry_params),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .into_iter()
        .collect();
    tx.insert_many_later(
        "INSERT INTO current_state_deltas (room_nid, type_nid, state_key_nid, position, event_nid, prev_event_nid)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        deltas.iter().filter(|delta| added.contains(&(delta.type_nid, delta.state_key_nid))).map(Delta::history_params),
    )?;
    Ok(added)
}

/// Returns the position of the newest change after `after` that was not made by the event at that position, that is by
/// a state resolution; `None` when there is none.
pub fn last_merge(tx: &mut Tx<'_>, room: RoomNid, after: Position) -> Result<Option<Position>, DbError> {
    tx.query_opt(
        "SELECT d.position FROM current_state_deltas d
         LEFT JOIN events e ON e.event_nid = d.event_nid
         WHERE d.room_nid = $1 AND d.position > $2 AND (e.position IS NULL OR e.position <> d.position)
         ORDER BY d.position DESC LIMIT 1",
        &[&room, &after],
        |row| row.get(0),
    )
}

/// Returns those of the rooms whose current state changed after `since`, each once.
pub fn rooms_changed(tx: &mut Tx<'_>, rooms: &[RoomNid], since: Position) -> Result<Vec<RoomNid>, DbError> {
    tx.query(
        "SELECT DISTINCT room_nid FROM current_state_deltas WHERE room_nid = ANY($1) AND position > $2",
        &[&Any(rooms), &since],
        first,
    )
}

/// Returns the events that changed the current state at `after < position <= upto` and were not replaced in that range,
/// in order of position.
pub fn changed(tx: &mut Tx<'_>, room: RoomNid, after: Position, upto: Position) -> Result<Vec<EventNid>, DbError> {
    tx.query(
        "SELECT d.event_nid FROM current_state_deltas d
         WHERE d.room_nid = $1 AND d.position > $2 AND d.position <= $3 AND d.event_nid IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM current_state_deltas later
                 WHERE later.room_nid = d.room_nid AND later.type_nid = d.type_nid
                     AND later.state_key_nid = d.state_key_nid
                     AND later.position > d.position AND later.position <= $3)
         ORDER BY d.position",
        &[&room, &after, &upto],
        |row| row.get(0),
    )
}

/// Returns type and state key of what was removed from the current state at `after < position <= upto` and not set
/// again in that range.
pub fn removed(
    tx: &mut Tx<'_>,
    room: RoomNid,
    after: Position,
    upto: Position,
) -> Result<Vec<(String, String)>, DbError> {
    tx.query(
        "SELECT t.event_type, k.state_key FROM current_state_deltas d
         JOIN event_types t ON t.type_nid = d.type_nid
         JOIN state_keys k ON k.state_key_nid = d.state_key_nid
         WHERE d.room_nid = $1 AND d.position > $2 AND d.position <= $3 AND d.event_nid IS NULL
             AND NOT EXISTS (SELECT 1 FROM current_state_deltas later
                 WHERE later.room_nid = d.room_nid AND later.type_nid = d.type_nid
                     AND later.state_key_nid = d.state_key_nid
                     AND later.position > d.position AND later.position <= $3)
         ORDER BY d.position",
        &[&room, &after, &upto],
        |row| Ok((row.get_with(0, String::from_utf8)?, row.get_with(1, String::from_utf8)?)),
    )
}

/// Returns the current state at a position: for each key the last change at or before it.
pub fn at(tx: &mut Tx<'_>, room: RoomNid, position: Position) -> Result<Vec<EventNid>, DbError> {
    tx.query(
        "SELECT d.event_nid FROM current_state_deltas d
         WHERE d.room_nid = $1 AND d.position <= $2 AND d.event_nid IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM current_state_deltas later
                 WHERE later.room_nid = d.room_nid AND later.type_nid = d.type_nid
                     AND later.state_key_nid = d.state_key_nid
                     AND later.position > d.position AND later.position <= $2)
         ORDER BY d.position",
        &[&room, &position],
        |row| row.get(0),
    )
}

/// Returns the changes of one key of the state, oldest first: position and event.
pub fn history(
    tx: &mut Tx<'_>,
    room: RoomNid,
    event_type: &str,
    state_key: &str,
) -> Result<Vec<(Position, EventNid)>, DbError> {
    tx.query(
        "SELECT position, event_nid FROM current_state_deltas
         WHERE room_nid = $1 AND event_nid IS NOT NULL
             AND type_nid = (SELECT type_nid FROM event_types WHERE event_type = $2)
             AND state_key_nid = (SELECT state_key_nid FROM state_keys WHERE state_key = $3)
         ORDER BY position",
        &[&room, &event_type.as_bytes(), &state_key.as_bytes()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// A change of a member event in a room's current state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    pub position: Position,
    pub user_id: String,
    /// `None`: the user has no member event any more.
    pub event_nid: Option<EventNid>,
    pub prev_event_nid: Option<EventNid>,
}

/// Passes the changes of member events after a position to `visit`, oldest first.
pub fn for_each_member_change(
    tx: &mut Tx<'_>,
    room: RoomNid,
    after: Position,
    mut visit: impl FnMut(MemberChange),
) -> Result<(), DbError> {
    tx.for_each(
        "SELECT d.position, k.state_key, d.event_nid, d.prev_event_nid
         FROM current_state_deltas d JOIN state_keys k ON k.state_key_nid = d.state_key_nid
         WHERE d.room_nid = $1 AND d.position > $2
             AND d.type_nid = (SELECT type_nid FROM event_types WHERE event_type = $3)
         ORDER BY d.position",
        &[&room, &after, &b"m.room.member".as_slice()],
        |row| {
            visit(MemberChange {
                position: row.get(0)?,
                user_id: row.get_with(1, String::from_utf8)?,
                event_nid: row.get(2)?,
                prev_event_nid: row.get(3)?,
            });
            Ok(())
        },
    )
}

/// Returns the changes of one key of the states of several rooms, oldest first: room and event.
pub fn histories(
    tx: &mut Tx<'_>,
    rooms: &[RoomNid],
    event_type: &str,
    state_key: &str,
) -> Result<Vec<(RoomNid, EventNid)>, DbError> {
    tx.query(
        "SELECT room_nid, event_nid FROM current_state_deltas
         WHERE room_nid = ANY($1) AND event_nid IS NOT NULL
             AND type_nid = (SELECT type_nid FROM event_types WHERE event_type = $2)
             AND state_key_nid = (SELECT state_key_nid FROM state_keys WHERE state_key = $3)
         ORDER BY room_nid, position",
        &[&Any(rooms), &event_type.as_bytes(), &state_key.as_bytes()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
