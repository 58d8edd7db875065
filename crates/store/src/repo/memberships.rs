//! Which user is what in which room.

use plexus_protocol::id::UserId;

use crate::db::{Param, ToSql};
use crate::{Any, DbError, EventNid, Position, RoomNid, Tx, UserNid, first};

/// A user's membership of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipRow {
    pub room_nid: RoomNid,
    /// 0 leave, 1 join, 2 invite, 3 knock, 4 ban.
    pub kind: i64,
    pub event_nid: EventNid,
    /// Position of the member event.
    pub position: Position,
    pub forgotten: bool,
}

/// Every room the user is or was in.
pub fn of_user(tx: &mut Tx<'_>, user: &UserId) -> Result<Vec<MembershipRow>, DbError> {
    tx.query(
        "SELECT m.room_nid, m.membership, m.event_nid, m.position, m.forgotten
         FROM memberships m JOIN user_ids u ON u.user_nid = m.user_nid WHERE u.user_id = $1",
        &[&user.as_str()],
        |row| {
            Ok(MembershipRow {
                room_nid: row.get(0)?,
                kind: row.get(1)?,
                event_nid: row.get(2)?,
                position: row.get(3)?,
                forgotten: row.get(4)?,
            })
        },
    )
}

/// Those of the users who are joined to one of the rooms.
pub fn joined_to_any(tx: &mut Tx<'_>, user_ids: &[&str], rooms: &[RoomNid]) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT DISTINCT u.user_id FROM user_ids u JOIN memberships m ON m.user_nid = u.user_nid
         WHERE u.user_id = ANY($1) AND m.room_nid = ANY($2) AND m.membership = 1",
        &[&Any(user_ids), &Any(rooms)],
        first,
    )
}

/// Who has a new membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub user_nid: UserNid,
    /// Whether it is a user of this server.
    pub is_local: bool,
}

/// Sets memberships, each user and room at most once.
pub fn set(tx: &mut Tx<'_>, rows: &[(Member, MembershipRow)]) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO memberships (user_nid, room_nid, membership, event_nid, position, forgotten, directory_stale)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (user_nid, room_nid) DO UPDATE SET membership = excluded.membership,
             event_nid = excluded.event_nid, position = excluded.position, forgotten = excluded.forgotten,
             directory_stale = excluded.directory_stale",
        rows.iter().map(|(member, row)| {
            [
                member.user_nid.to_param(),
                row.room_nid.to_param(),
                row.kind.to_param(),
                row.event_nid.to_param(),
                row.position.to_param(),
                row.forgotten.to_param(),
                // The user directory has this server's users otherwise.
                Param::Int((!member.is_local).into()),
            ]
        }),
    )?;
    Ok(())
}

/// Marks a room the user has left (0) or was banned from (4) as forgotten; `false` when the user is in it.
pub fn forget(tx: &mut Tx<'_>, user: &UserId, room: RoomNid) -> Result<bool, DbError> {
    let changed = tx.execute(
        "UPDATE memberships SET forgotten = 1
         WHERE room_nid = $2 AND membership IN (0, 4)
             AND user_nid = (SELECT user_nid FROM user_ids WHERE user_id = $1)",
        &[&user.as_str(), &room],
    )?;
    Ok(changed == 1)
}
