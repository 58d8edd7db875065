//! Pushers: the targets of a user's notifications.

use std::fmt;
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;

use super::bounds::{self, BoundError};
use super::other_changes;
use super::timeline_gaps::RESERVED;
use crate::{Any, DbError, Position, RoomNid, Row, ToSql, Tx, first, readable};

/// The longest display text, in bytes. `app_id` and `pushkey` have their own limits.
const MAX_TEXT_BYTES: usize = 1_024;
/// The largest `data`, in bytes of JSON: it is sent with every notification.
const MAX_DATA_BYTES: usize = 16 * 1024;
/// The most pushers of a user: every notification goes to each.
const MAX_PUSHERS_OF_USER: u64 = 500;

/// The position in the database while nothing is pushed.
const SUSPENDED: Position = -1;

/// A pusher as its user set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pusher {
    pub app_id: String,
    pub pushkey: String,
    /// `http`.
    pub kind: String,
    pub app_display_name: String,
    pub device_display_name: String,
    pub profile_tag: Option<String>,
    pub lang: String,
    /// The pusher's data, a JSON object as text.
    pub data: String,
    /// The device whose session set it; the pusher is deleted with the session.
    pub device_id: Option<String>,
    /// When it was set last, Unix ms.
    pub set_ts: u64,
    /// What is at or before this position is not pushed.
    pub since: Position,
    /// Whether anything is pushed at all.
    pub enabled: bool,
}

/// Identifies a pusher.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PusherKey {
    pub user: UserId,
    pub app_id: String,
    pub pushkey: String,
}

impl fmt::Display for PusherKey {
    /// Without the pushkey, which is a secret of the app's. The app's id may be any text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the pusher {} of {}", self.app_id.escape_debug(), self.user)
    }
}

/// A pusher that notifications go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivePusher {
    pub key: Arc<PusherKey>,
    /// What is at or before this position is not pushed.
    pub since: Position,
    /// Set if it is behind: it has everything up to here.
    pub behind_at: Option<Position>,
    /// When it was set last, Unix ms.
    pub set_ts: u64,
}

/// An invite of a user who has a pusher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedInvite {
    pub user: UserId,
    pub room: RoomNid,
    pub position: Position,
}

fn read(row: &Row<'_>) -> Result<Pusher, DbError> {
    Ok(Pusher {
        app_id: row.get(0)?,
        pushkey: row.get(1)?,
        kind: row.get(2)?,
        app_display_name: row.get(3)?,
        device_display_name: row.get(4)?,
        profile_tag: row.get(5)?,
        lang: row.get(6)?,
        data: row.get(7)?,
        device_id: row.get(8)?,
        set_ts: row.get(9)?,
        since: row.get(10)?,
        enabled: row.get(11)?,
    })
}

/// Returns a user's pushers, oldest first.
pub fn of_user(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<Pusher>, DbError> {
    tx.query(
        "SELECT app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data, device_id,
         created_ts, pushed_to, enabled FROM pushers WHERE user_id = $1 ORDER BY created_ts, app_id, pushkey",
        &[&user_id],
        read,
    )
}

/// Returns a pusher.
pub fn get(tx: &mut Tx<'_>, key: &PusherKey) -> Result<Option<Pusher>, DbError> {
    tx.query_opt(
        "SELECT app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data, device_id,
         created_ts, pushed_to, enabled FROM pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3",
        &[&key.user.as_str(), &key.app_id, &key.pushkey],
        read,
    )
}

/// Returns the enabled pushers of all users whose notifications go to a push gateway.
pub fn active(tx: &mut Tx<'_>) -> Result<Vec<ActivePusher>, DbError> {
    let rows = tx.query(
        "SELECT user_id, app_id, pushkey, pushed_to, behind_at, created_ts FROM pushers
         WHERE kind = 'http' AND enabled = 1",
        &[],
        |row| Ok(readable(read_active(row))),
    )?;
    Ok(rows.into_iter().flatten().collect())
}

/// As [`active`], of one user.
pub fn active_of_user(tx: &mut Tx<'_>, user: &UserId) -> Result<Vec<ActivePusher>, DbError> {
    let rows = tx.query(
        "SELECT user_id, app_id, pushkey, pushed_to, behind_at, created_ts FROM pushers
         WHERE user_id = $1 AND kind = 'http' AND enabled = 1",
        &[&user.as_str()],
        |row| Ok(readable(read_active(row))),
    )?;
    Ok(rows.into_iter().flatten().collect())
}

fn read_active(row: &Row<'_>) -> Result<ActivePusher, DbError> {
    let user = row.get_with(0, |user: String| UserId::try_from(user))?;
    let key = PusherKey { user, app_id: row.get(1)?, pushkey: row.get(2)? };
    Ok(ActivePusher { key: Arc::new(key), since: row.get(3)?, behind_at: row.get(4)?, set_ts: row.get(5)? })
}

/// Returns the invites with `after < position <= upto` of users who have a pusher.
pub fn invites_between(tx: &mut Tx<'_>, after: Position, upto: Position) -> Result<Vec<PushedInvite>, DbError> {
    let read = |row: &Row<'_>| {
        let user = row.get_with(0, |user: String| UserId::try_from(user))?;
        Ok(PushedInvite { user, room: row.get(1)?, position: row.get(2)? })
    };
    let rows = tx.query(
        "SELECT u.user_id, m.room_nid, m.position FROM user_ids u JOIN memberships m ON m.user_nid = u.user_nid
         WHERE u.user_id IN (SELECT user_id FROM pushers) AND m.membership = $1 AND m.position > $2
             AND m.position <= $3",
        &[&Membership::Invite, &after, &upto],
        |row| Ok(readable(read(row))),
    )?;
    Ok(rows.into_iter().flatten().collect())
}

/// Returns the events of some rooms with `after < position <= upto`, the oldest `limit`, oldest first; without those
/// that were fetched into gaps of timelines.
pub fn events_of_rooms(
    tx: &mut Tx<'_>,
    rooms: &[RoomNid],
    after: Position,
    upto: Position,
    limit: u64,
) -> Result<Vec<(RoomNid, Position)>, DbError> {
    tx.query(
        "SELECT room_nid, position FROM events e WHERE room_nid = ANY($1) AND position > $2 AND position <= $3
             AND NOT EXISTS (SELECT 1 FROM timeline_gaps g
                             WHERE g.room_nid = e.room_nid AND e.position < g.top AND e.position >= g.top - $5)
         ORDER BY position LIMIT $4",
        &[&Any(rooms), &after, &upto, &limit, &RESERVED],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Returns the position up to which every pusher that is not behind has everything; `None` after [`suspend`].
pub fn position(tx: &mut Tx<'_>) -> Result<Option<Position>, DbError> {
    let position: Position = tx.query_one("SELECT position FROM push_position WHERE id = 1", &[], first)?;
    Ok((position != SUSPENDED).then_some(position))
}

/// Stores the progress: up to `position`, and the positions of the pushers in `behind`. Pushers in `caught_up` are
/// behind no longer.
pub fn set_progress(
    tx: &mut Tx<'_>,
    position: Position,
    behind: &[(Arc<PusherKey>, Position)],
    caught_up: &[Arc<PusherKey>],
) -> Result<(), DbError> {
    tx.execute_later("UPDATE push_position SET position = $1 WHERE id = 1", &[&position])?;
    let rows = behind.iter().map(|(key, at)| (key, Some(*at))).chain(caught_up.iter().map(|key| (key, None)));
    let rows: Vec<(&Arc<PusherKey>, Option<Position>)> = rows.collect();
    if !rows.is_empty() {
        tx.insert_many_later(
            "UPDATE pushers SET behind_at = $4 WHERE user_id = $1 AND app_id = $2 AND pushkey = $3",
            rows.iter().map(|(key, at)| {
                [key.user.as_str().to_param(), key.app_id.to_param(), key.pushkey.to_param(), at.to_param()]
            }),
        )?;
    }
    Ok(())
}

/// Records that nothing is pushed from now on: neither what waits, nor what is committed until [`resume`].
pub fn suspend(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute_later("UPDATE push_position SET position = $1 WHERE id = 1", &[&SUSPENDED])?;
    tx.execute_later("UPDATE pushers SET behind_at = NULL WHERE behind_at IS NOT NULL", &[])?;
    Ok(())
}

/// Records that what is committed after `committed` is pushed again.
pub fn resume(tx: &mut Tx<'_>, committed: Position) -> Result<(), DbError> {
    tx.execute_later("UPDATE push_position SET position = $1 WHERE id = 1", &[&committed])?;
    Ok(())
}

/// Adds or replaces a pusher, and announces it. One that was enabled before keeps its place in the log.
///
/// # Errors
/// `TooLarge`, or the database's.
pub fn set(tx: &mut Tx<'_>, user: &UserId, pusher: &Pusher) -> Result<(), BoundError> {
    let user_id = user.as_str();
    let texts = [&pusher.kind, &pusher.app_display_name, &pusher.device_display_name, &pusher.lang];
    let fits = |text: &String| text.len() <= MAX_TEXT_BYTES;
    let texts_fit = texts.into_iter().chain(&pusher.profile_tag).all(fits);
    bounds::require(texts_fit, "A text of the pusher is longer than 1024 bytes")?;
    bounds::require(pusher.data.len() <= MAX_DATA_BYTES, "The pusher's data is larger than 16 KiB")?;
    let others: u64 = tx.query_one(
        "SELECT COUNT(*) FROM pushers WHERE user_id = $1 AND NOT (app_id = $2 AND pushkey = $3)",
        &[&user_id, &pusher.app_id, &pusher.pushkey],
        first,
    )?;
    bounds::require(others < MAX_PUSHERS_OF_USER, "The user has too many pushers")?;
    tx.execute_later(
        "INSERT INTO pushers (user_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang,
         data, device_id, created_ts, pushed_to, enabled)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET kind = excluded.kind,
         app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
         profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data,
         device_id = excluded.device_id, created_ts = excluded.created_ts, enabled = excluded.enabled,
         pushed_to = CASE WHEN pushers.enabled = 1 THEN pushers.pushed_to ELSE excluded.pushed_to END,
         behind_at = CASE WHEN pushers.enabled = 1 THEN pushers.behind_at ELSE NULL END",
        &[
            &user_id,
            &pusher.app_id,
            &pusher.pushkey,
            &pusher.kind,
            &pusher.app_display_name,
            &pusher.device_display_name,
            &pusher.profile_tag,
            &pusher.lang,
            &pusher.data,
            &pusher.device_id,
            &pusher.set_ts,
            &pusher.since,
            &pusher.enabled,
        ],
    )?;
    other_changes::record_pushers(tx, user)?;
    Ok(())
}

/// Deletes a pusher if it exists, and announces that.
pub fn delete(tx: &mut Tx<'_>, key: &PusherKey) -> Result<(), DbError> {
    let deleted = tx.execute(
        "DELETE FROM pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3",
        &[&key.user.as_str(), &key.app_id, &key.pushkey],
    )?;
    record_if(tx, deleted, &key.user)
}

/// Deletes the pusher with this key from all other users (`append: false`), and announces that.
pub fn delete_for_others(tx: &mut Tx<'_>, key: &PusherKey) -> Result<(), DbError> {
    let others = tx.query(
        "SELECT user_id FROM pushers WHERE app_id = $1 AND pushkey = $2 AND user_id <> $3",
        &[&key.app_id, &key.pushkey, &key.user.as_str()],
        |row| Ok(readable(row.get_with(0, |user: String| UserId::try_from(user)))),
    )?;
    for user in others.into_iter().flatten() {
        delete(tx, &PusherKey { user, ..key.clone() })?;
    }
    Ok(())
}

/// Deletes the pushers that a device's session set, and announces that.
pub fn delete_of_device(tx: &mut Tx<'_>, user: &UserId, device_id: &str) -> Result<(), DbError> {
    let deleted =
        tx.execute("DELETE FROM pushers WHERE user_id = $1 AND device_id = $2", &[&user.as_str(), &device_id])?;
    record_if(tx, deleted, user)
}

/// Deletes all pushers of a user, and announces that.
pub fn delete_all(tx: &mut Tx<'_>, user: &UserId) -> Result<(), DbError> {
    let deleted = tx.execute("DELETE FROM pushers WHERE user_id = $1", &[&user.as_str()])?;
    record_if(tx, deleted, user)
}

fn record_if(tx: &mut Tx<'_>, deleted: u64, user: &UserId) -> Result<(), DbError> {
    if deleted > 0 { other_changes::record_pushers(tx, user) } else { Ok(()) }
}
