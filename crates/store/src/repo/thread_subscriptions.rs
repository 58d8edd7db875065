//! Subscriptions to threads.

use plexus_protocol::id::UserId;

use super::bounds::{self, BoundError};
use crate::{Change, DbError, Position, RoomNid, Row, Tx, first};

/// The most threads that a user may have subscribed to or unsubscribed from: several a day for years.
const MAX_THREADS_OF_USER: u64 = 10_000;

/// A thread that a user has subscribed to, or unsubscribed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadSubscription {
    pub room_nid: RoomNid,
    pub root: String,
    pub automatic: bool,
    /// The position at which the user subscribed last. Changes of that subscription do not move it.
    pub subscribed_at: Position,
    /// Set when the subscription has ended: the position of the room's last event before that.
    pub unsubscribed_at: Option<Position>,
    /// The position of the last change.
    pub position: Position,
}

impl ThreadSubscription {
    /// Whether an event came while the user was subscribed.
    #[must_use]
    pub fn covers(&self, event: Position) -> bool {
        event > self.subscribed_at && self.unsubscribed_at.is_none_or(|end| event <= end)
    }
}

fn read(row: &Row<'_>) -> Result<ThreadSubscription, DbError> {
    Ok(ThreadSubscription {
        room_nid: row.get(0)?,
        root: row.get(1)?,
        automatic: row.get(2)?,
        unsubscribed_at: row.get(3)?,
        position: row.get(4)?,
        subscribed_at: row.get(5)?,
    })
}

/// Returns what a user has done about one thread.
pub fn get(tx: &mut Tx<'_>, user: &UserId, room: RoomNid, root: &str) -> Result<Option<ThreadSubscription>, DbError> {
    tx.query_opt(
        "SELECT room_nid, root, automatic, unsubscribed_at, position, subscribed_at FROM thread_subscriptions
         WHERE user_id = $1 AND room_nid = $2 AND root = $3",
        &[&user.as_str(), &room, &root],
        read,
    )
}

/// Writes a subscription or unsubscription, and announces it. `position` of the row is ignored, and the present
/// position stands for `subscribed_at` if that is 0. A user who has too many loses the oldest unsubscription.
///
/// # Errors
/// `TooLarge` if the user has too many, or the database's.
pub fn set(tx: &mut Tx<'_>, user: &UserId, row: &ThreadSubscription) -> Result<(), BoundError> {
    if get(tx, user, row.room_nid, &row.root)?.is_none() {
        let sql = "SELECT COUNT(*) FROM thread_subscriptions WHERE user_id = $1";
        let count: u64 = tx.query_one(sql, &[&user.as_str()], first)?;
        let has_place = count < MAX_THREADS_OF_USER || delete_oldest_unsubscription(tx, user)?;
        bounds::require(has_place, "The user has subscribed to too many threads")?;
    }
    let position = tx.next_position()?;
    let subscribed_at = if row.subscribed_at == 0 { position } else { row.subscribed_at };
    tx.execute_later(
        "INSERT INTO thread_subscriptions
             (user_id, room_nid, root, automatic, unsubscribed_at, position, subscribed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (user_id, room_nid, root) DO UPDATE SET automatic = excluded.automatic,
             unsubscribed_at = excluded.unsubscribed_at, position = excluded.position,
             subscribed_at = excluded.subscribed_at",
        &[&user.as_str(), &row.room_nid, &row.root, &row.automatic, &row.unsubscribed_at, &position, &subscribed_at],
    )?;
    tx.announce(Change::AccountData { user: user.clone(), room: None, position });
    Ok(())
}

/// Deletes the oldest unsubscription of a user; returns whether there was one.
fn delete_oldest_unsubscription(tx: &mut Tx<'_>, user: &UserId) -> Result<bool, DbError> {
    let deleted = tx.execute(
        "DELETE FROM thread_subscriptions WHERE user_id = $1 AND position = (
             SELECT MIN(position) FROM thread_subscriptions WHERE user_id = $1 AND unsubscribed_at IS NOT NULL)",
        &[&user.as_str()],
    )?;
    Ok(deleted > 0)
}

/// Returns the newest `limit` changes of a user's subscriptions with `after < position <= upto`, newest first.
pub fn changed(
    tx: &mut Tx<'_>,
    user: &UserId,
    (after, upto): (Position, Position),
    limit: u64,
) -> Result<Vec<ThreadSubscription>, DbError> {
    tx.query(
        "SELECT room_nid, root, automatic, unsubscribed_at, position, subscribed_at FROM thread_subscriptions
         WHERE user_id = $1 AND position > $2 AND position <= $3 ORDER BY position DESC LIMIT $4",
        &[&user.as_str(), &after, &upto, &limit],
        read,
    )
}

/// Deletes all subscriptions of a user.
pub fn delete_all(tx: &mut Tx<'_>, user: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM thread_subscriptions WHERE user_id = $1", &[&user])?;
    Ok(())
}
