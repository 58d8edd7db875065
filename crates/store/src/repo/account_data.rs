//! Global and per-room account data. Tags (`m.tag`) and the read marker (`m.fully_read`) are rows of this table too.

use plexus_protocol::id::UserId;

use crate::{Change, DbError, Position, RoomNid, Tx};

/// One piece of account data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountData {
    /// The room it belongs to; empty for global account data.
    pub room_id: String,
    pub event_type: String,
    /// The content, a JSON object as text.
    pub content: String,
}

fn read(row: &crate::Row<'_>) -> Result<AccountData, DbError> {
    Ok(AccountData { room_id: row.get(0)?, event_type: row.get(1)?, content: row.get(2)? })
}

/// Which room account data belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// Empty for global account data.
    pub room_id: &'a str,
    /// The room's number, unless it is global or a room this server does not know.
    pub room: Option<RoomNid>,
}

/// Writes one piece of account data and announces it. Returns its position.
pub fn set(
    tx: &mut Tx<'_>,
    user: &UserId,
    scope: Scope<'_>,
    event_type: &str,
    content: &str,
) -> Result<Position, DbError> {
    let position = tx.next_position()?;
    tx.execute_later(
        "INSERT INTO account_data (user_id, room_id, type, content, position) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (user_id, room_id, type) DO UPDATE SET content = excluded.content, position = excluded.position",
        &[&user.as_str(), &scope.room_id, &event_type, &content, &position],
    )?;
    tx.announce(Change::AccountData { user: user.clone(), room: scope.room, position });
    Ok(position)
}

/// The content of one piece of account data. `room_id` is empty for global account data.
pub fn get(tx: &mut Tx<'_>, user_id: &str, room_id: &str, event_type: &str) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT content FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3",
        &[&user_id, &room_id, &event_type],
        |row| row.get(0),
    )
}

/// All account data of a user that was written after `since` and at or before `upto`.
pub fn changed(tx: &mut Tx<'_>, user_id: &str, since: Position, upto: Position) -> Result<Vec<AccountData>, DbError> {
    tx.query(
        "SELECT room_id, type, content FROM account_data WHERE user_id = $1 AND position > $2 AND position <= $3
         ORDER BY position",
        &[&user_id, &since, &upto],
        read,
    )
}

/// All account data of a user in one room.
pub fn in_room(tx: &mut Tx<'_>, user_id: &str, room_id: &str) -> Result<Vec<AccountData>, DbError> {
    tx.query(
        "SELECT room_id, type, content FROM account_data WHERE user_id = $1 AND room_id = $2 ORDER BY type",
        &[&user_id, &room_id],
        read,
    )
}
