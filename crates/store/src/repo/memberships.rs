//! Users' memberships of rooms.

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;

use super::{other_changes, search_progress, users};
pub use crate::change::RoomMembership;
use crate::db::{FromSqlError, Param, ToSql, ValueRef};
use crate::{Any, DbError, FromSql, RoomNid, Row, Tx, UserNid, first, readable};

/// Memberships are stored as numbers, which some statements contain.
impl ToSql for Membership {
    fn to_param(&self) -> Param<'_> {
        Param::Int(match self {
            Self::Leave => 0,
            Self::Join => 1,
            Self::Invite => 2,
            Self::Knock => 3,
            Self::Ban => 4,
        })
    }
}

impl FromSql for Membership {
    fn from_value(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
        match i64::from_value(value)? {
            0 => Ok(Self::Leave),
            1 => Ok(Self::Join),
            2 => Ok(Self::Invite),
            3 => Ok(Self::Knock),
            4 => Ok(Self::Ban),
            other => Err(FromSqlError::Invalid(format!("{other} is no membership"))),
        }
    }
}

/// Returns the user's memberships, including those of rooms that the user has left.
pub fn of_user(tx: &mut Tx<'_>, user: &UserId) -> Result<Vec<RoomMembership>, DbError> {
    let read = |row: &Row<'_>| {
        Ok(RoomMembership {
            room: row.get(0)?,
            kind: row.get(1)?,
            event_nid: row.get(2)?,
            position: row.get(3)?,
            forgotten: row.get(4)?,
        })
    };
    let rows = tx.query(
        "SELECT m.room_nid, m.membership, m.event_nid, m.position, m.forgotten
         FROM memberships m JOIN user_ids u ON u.user_nid = m.user_nid WHERE u.user_id = $1",
        &[&user.as_str()],
        |row| Ok(readable(read(row))),
    )?;
    Ok(rows.into_iter().flatten().collect())
}

/// Returns the users who are joined to at least one of the rooms.
pub fn joined_to_any(tx: &mut Tx<'_>, user_ids: &[&str], rooms: &[RoomNid]) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT DISTINCT u.user_id FROM user_ids u JOIN memberships m ON m.user_nid = u.user_nid
         WHERE u.user_id = ANY($1) AND m.room_nid = ANY($2) AND m.membership = 1",
        &[&Any(user_ids), &Any(rooms)],
        first,
    )
}

/// Returns the first rooms to which `user` is joined (1) or invited (2), and `other` joined.
pub fn shared_rooms(tx: &mut Tx<'_>, user: &UserId, other: &UserId, limit: u32) -> Result<Vec<RoomNid>, DbError> {
    tx.query(
        "SELECT m.room_nid FROM memberships m JOIN memberships o ON o.room_nid = m.room_nid
         WHERE m.user_nid = (SELECT user_nid FROM user_ids WHERE user_id = $1) AND m.membership IN (1, 2)
             AND o.user_nid = (SELECT user_nid FROM user_ids WHERE user_id = $2) AND o.membership = 1
         ORDER BY m.room_nid LIMIT $3",
        &[&user.as_str(), &other.as_str(), &limit],
        first,
    )
}

/// A user with a new membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub user_nid: UserNid,
    /// Whether the user is on this server.
    pub is_local: bool,
}

/// Sets memberships, each user and room at most once. A deactivated user of this server who joins or knocks is marked
/// for leaving all rooms: the request was made before the account was closed.
pub fn set(tx: &mut Tx<'_>, rows: &[(Member, RoomMembership)]) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO memberships (user_nid, room_nid, membership, event_nid, position, forgotten, directory_stale)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (user_nid, room_nid) DO UPDATE SET membership = excluded.membership,
             event_nid = excluded.event_nid, position = excluded.position, forgotten = excluded.forgotten,
             directory_stale = excluded.directory_stale",
        rows.iter().map(|(member, row)| {
            [
                member.user_nid.to_param(),
                row.room.to_param(),
                row.kind.to_param(),
                row.event_nid.to_param(),
                row.position.to_param(),
                row.forgotten.to_param(),
                // The directory entries of local users are written when their profiles change.
                Param::Int((!member.is_local).into()),
            ]
        }),
    )?;
    for (_, row) in rows.iter().filter(|(member, row)| member.is_local && row.forgotten) {
        search_progress::forget_room(tx, row.room)?;
    }
    let is_entry = |kind| matches!(kind, Membership::Join | Membership::Knock);
    let entering = rows.iter().filter(|(member, row)| member.is_local && is_entry(row.kind));
    let entering: Vec<UserNid> = entering.map(|(member, _)| member.user_nid).collect();
    if entering.is_empty() { Ok(()) } else { users::leave_rooms_if_deactivated(tx, &entering) }
}

/// Marks a room that the user has left (0) or was banned from (4) as forgotten; returns `false` when the user is in it.
pub fn forget(tx: &mut Tx<'_>, user: &UserId, room: RoomNid) -> Result<bool, DbError> {
    let changed = tx.execute(
        "UPDATE memberships SET forgotten = 1
         WHERE room_nid = $2 AND membership IN (0, 4)
             AND user_nid = (SELECT user_nid FROM user_ids WHERE user_id = $1)",
        &[&user.as_str(), &room],
    )?;
    if changed == 1 {
        other_changes::record_forgotten(tx, user, room)?;
        search_progress::forget_room(tx, room)?;
    }
    Ok(changed == 1)
}
