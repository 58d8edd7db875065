//! Local accounts.

use super::user_directory;
use crate::{Any, DbError, Row, Tx, UserNid, first};

/// A local account.
#[derive(Debug, Clone)]
pub struct User {
    pub user_id: String,
    /// argon2id (PHC string) or bcrypt; `None`: no password login.
    pub password_hash: Option<String>,
    pub created_ts: u64,
    pub is_guest: bool,
    pub is_admin: bool,
    /// `None`, `"bot"` or `"support"`.
    pub user_type: Option<String>,
    pub appservice_id: Option<String>,
    pub deactivated: bool,
    pub erased: bool,
    pub locked: bool,
    pub suspended: bool,
    pub shadow_banned: bool,
}

fn user(row: &Row<'_>) -> Result<User, DbError> {
    Ok(User {
        user_id: row.get(0)?,
        password_hash: row.get(1)?,
        created_ts: row.get(2)?,
        is_guest: row.get(3)?,
        is_admin: row.get(4)?,
        user_type: row.get(5)?,
        appservice_id: row.get(6)?,
        deactivated: row.get(7)?,
        erased: row.get(8)?,
        locked: row.get(9)?,
        suspended: row.get(10)?,
        shadow_banned: row.get(11)?,
    })
}

/// Returns the account with exactly this user id.
pub fn get(tx: &mut Tx, user_id: &str) -> Result<Option<User>, DbError> {
    tx.query_opt(
        "SELECT user_id, password_hash, created_ts, is_guest, is_admin, user_type, appservice_id, deactivated, erased,
                locked, suspended, shadow_banned
         FROM users WHERE user_id = $1",
        &[&user_id],
        user,
    )
}

/// Returns the accounts whose user id equals this one when case is ignored (imported accounts may have capital
/// letters).
pub fn get_ignoring_case(tx: &mut Tx, user_id: &str) -> Result<Vec<User>, DbError> {
    tx.query(
        "SELECT user_id, password_hash, created_ts, is_guest, is_admin, user_type, appservice_id, deactivated, erased,
                locked, suspended, shadow_banned
         FROM users WHERE lower(user_id) = lower($1)",
        &[&user_id],
        user,
    )
}

/// Returns at most `limit` accounts whose user ids follow `after`, in order.
pub fn page(tx: &mut Tx, after: &str, limit: u32) -> Result<Vec<User>, DbError> {
    tx.query(
        "SELECT user_id, password_hash, created_ts, is_guest, is_admin, user_type, appservice_id, deactivated, erased,
                locked, suspended, shadow_banned
         FROM users WHERE user_id > $1 ORDER BY user_id LIMIT $2",
        &[&after, &limit],
        user,
    )
}

/// Stores a new account. Returns `false`, and stores nothing, when the user id is taken.
pub fn insert(tx: &mut Tx, user: &User) -> Result<bool, DbError> {
    let stored = tx.execute(
        "INSERT INTO users (user_id, password_hash, created_ts, is_guest, is_admin, user_type, appservice_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (user_id) DO NOTHING",
        &[
            &user.user_id,
            &user.password_hash,
            &user.created_ts,
            &user.is_guest,
            &user.is_admin,
            &user.user_type,
            &user.appservice_id,
        ],
    )?;
    user_directory::index_local(tx, &user.user_id)?;
    Ok(stored == 1)
}

/// Turns a guest's account into a regular one. Returns `false`, and changes nothing, when there is no such guest.
pub fn upgrade_guest(tx: &mut Tx, user_id: &str, password_hash: Option<&str>) -> Result<bool, DbError> {
    let upgraded = tx.execute(
        "UPDATE users SET is_guest = 0, password_hash = $2 WHERE user_id = $1 AND is_guest = 1 AND deactivated = 0",
        &[&user_id, &password_hash],
    )?;
    user_directory::index_local(tx, user_id)?;
    Ok(upgraded == 1)
}

/// Returns how many regular accounts are active: not deactivated, not guests, not of an application service.
pub fn count_active(tx: &mut Tx) -> Result<u64, DbError> {
    tx.query_one(
        "SELECT COUNT(*) FROM users WHERE deactivated = 0 AND is_guest = 0 AND appservice_id IS NULL",
        &[],
        |row| row.get(0),
    )
}

/// Whether the account is the only regular one.
pub fn is_only_person(tx: &mut Tx, user_id: &str) -> Result<bool, DbError> {
    let people: Vec<String> = tx.query(
        "SELECT user_id FROM users WHERE user_type IS NULL AND is_guest = 0 AND appservice_id IS NULL LIMIT 2",
        &[],
        first,
    )?;
    Ok(people == [user_id])
}

/// Returns those of some user ids that are guests of this server.
pub fn guests_among(tx: &mut Tx, user_ids: &[&str]) -> Result<Vec<String>, DbError> {
    let sql = "SELECT user_id FROM users WHERE user_id = ANY($1) AND is_guest = 1 ORDER BY user_id";
    tx.query(sql, &[&Any(user_ids)], |row| row.get(0))
}

/// Replaces the password hash (`None`: no password login).
pub fn set_password_hash(tx: &mut Tx, user_id: &str, hash: Option<&str>) -> Result<(), DbError> {
    tx.execute_later("UPDATE users SET password_hash = $2 WHERE user_id = $1", &[&user_id, &hash])?;
    Ok(())
}

/// Replaces the password hash only while it is still `old`: an upgrade must not undo a password change.
pub fn upgrade_password_hash(tx: &mut Tx, user_id: &str, old: &str, new: &str) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2",
        &[&user_id, &old, &new],
    )?;
    Ok(())
}

/// Returns the largest cost of a bcrypt hash (`$2b$12$...`); `None` if no account has one. Reads all accounts.
pub fn largest_bcrypt_cost(tx: &mut Tx) -> Result<Option<u32>, DbError> {
    let largest: Option<String> = tx.query_one(
        "SELECT MAX(substr(password_hash, 5, 2)) FROM users WHERE password_hash LIKE $1",
        &[&"$2_$%"],
        |row| row.get(0),
    )?;
    Ok(largest.and_then(|cost| cost.parse().ok()))
}

/// Grants or revokes server administration. Returns `false` when there is no such user.
pub fn set_admin(tx: &mut Tx, user_id: &str, admin: bool) -> Result<bool, DbError> {
    Ok(tx.execute("UPDATE users SET is_admin = $2 WHERE user_id = $1", &[&user_id, &admin])? == 1)
}

/// Locks or unlocks. Returns `false` when there is no such user.
pub fn set_locked(tx: &mut Tx, user_id: &str, locked: bool) -> Result<bool, DbError> {
    Ok(tx.execute("UPDATE users SET locked = $2 WHERE user_id = $1", &[&user_id, &locked])? == 1)
}

/// Suspends, or ends that. Returns `false` when there is no such user.
pub fn set_suspended(tx: &mut Tx, user_id: &str, suspended: bool) -> Result<bool, DbError> {
    Ok(tx.execute("UPDATE users SET suspended = $2 WHERE user_id = $1", &[&user_id, &suspended])? == 1)
}

/// Shadow-bans, or ends that. Returns `false` when there is no such user.
pub fn set_shadow_banned(tx: &mut Tx, user_id: &str, shadow_banned: bool) -> Result<bool, DbError> {
    Ok(tx.execute("UPDATE users SET shadow_banned = $2 WHERE user_id = $1", &[&user_id, &shadow_banned])? == 1)
}

/// Deactivates: deletes password and third-party identifiers, and marks the user for leaving all rooms.
pub fn deactivate(tx: &mut Tx, user_id: &str) -> Result<(), DbError> {
    tx.execute_later("UPDATE users SET deactivated = 1, password_hash = NULL WHERE user_id = $1", &[&user_id])?;
    tx.execute_later("DELETE FROM user_threepids WHERE user_id = $1", &[&user_id])?;
    tx.execute_later("INSERT INTO users_to_part (user_id) VALUES ($1) ON CONFLICT (user_id) DO NOTHING", &[&user_id])?;
    user_directory::index_local(tx, user_id)
}

/// Returns the deactivated users who still have to leave their rooms.
pub fn with_rooms_to_leave(tx: &mut Tx) -> Result<Vec<String>, DbError> {
    tx.query("SELECT user_id FROM users_to_part", &[], |row| row.get(0))
}

/// Marks those of the users who are deactivated for leaving all rooms.
pub fn leave_rooms_if_deactivated(tx: &mut Tx, users: &[UserNid]) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO users_to_part (user_id)
         SELECT u.user_id FROM users u JOIN user_ids i ON i.user_id = u.user_id
         WHERE i.user_nid = ANY($1) AND u.deactivated = 1
         ON CONFLICT (user_id) DO NOTHING",
        &[&Any(users)],
    )?;
    Ok(())
}

/// Records that a deactivated user has left all rooms. The user stays marked while there is a join (1), an invite (2)
/// or a knock (3).
pub fn set_left_rooms(tx: &mut Tx, user_id: &str) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM users_to_part WHERE user_id = $1 AND NOT EXISTS (
             SELECT 1 FROM memberships m JOIN user_ids i ON i.user_nid = m.user_nid
             WHERE i.user_id = $1 AND m.membership IN (1, 2, 3)
         )",
        &[&user_id],
    )?;
    Ok(())
}

/// A third-party identifier bound to an account on this server. Times are Unix ms.
#[derive(Debug, Clone)]
pub struct ThreePid {
    pub medium: String,
    pub address: String,
    pub validated_ts: u64,
    pub added_ts: u64,
}

/// Returns the third-party identifiers of a user, oldest first.
pub fn threepids(tx: &mut Tx, user_id: &str) -> Result<Vec<ThreePid>, DbError> {
    tx.query(
        "SELECT medium, address, validated_ts, added_ts FROM user_threepids WHERE user_id = $1 ORDER BY added_ts, \
         address",
        &[&user_id],
        |row| {
            Ok(ThreePid { medium: row.get(0)?, address: row.get(1)?, validated_ts: row.get(2)?, added_ts: row.get(3)? })
        },
    )
}

/// Returns the user who has a third-party identifier.
pub fn by_threepid(tx: &mut Tx, medium: &str, address: &str) -> Result<Option<String>, DbError> {
    tx.query_opt("SELECT user_id FROM user_threepids WHERE medium = $1 AND address = $2", &[&medium, &address], |row| {
        row.get(0)
    })
}

/// Adds a third-party identifier to a user. Returns `false` when another user has it.
pub fn add_threepid(tx: &mut Tx, user_id: &str, threepid: &ThreePid) -> Result<bool, DbError> {
    let ThreePid { medium, address, validated_ts, added_ts } = threepid;
    let stored = tx.execute(
        "INSERT INTO user_threepids (user_id, medium, address, validated_ts, added_ts) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (medium, address) DO UPDATE SET validated_ts = excluded.validated_ts
         WHERE user_threepids.user_id = excluded.user_id",
        &[&user_id, medium, address, validated_ts, added_ts],
    )?;
    Ok(stored > 0)
}

/// Deletes a third-party identifier of a user. Returns `false` when the user did not have it.
pub fn delete_threepid(tx: &mut Tx, user_id: &str, medium: &str, address: &str) -> Result<bool, DbError> {
    let deleted = tx.execute(
        "DELETE FROM user_threepids WHERE user_id = $1 AND medium = $2 AND address = $3",
        &[&user_id, &medium, &address],
    )?;
    Ok(deleted > 0)
}
