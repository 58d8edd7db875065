//! Access tokens and refresh tokens. Only SHA-256 hashes of tokens reach this module.

use plexus_protocol::id::UserId;

pub use crate::change::TokenHash;
use crate::{DbError, Tx, first};

/// Returns the id of a token: the first 63 bits of its hash.
#[must_use]
pub fn token_id(hash: &TokenHash) -> i64 {
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    (u64::from_be_bytes(head) >> 1) as i64
}

/// An access token with the account data that requests need.
#[derive(Debug, Clone)]
pub struct AccessToken {
    pub token_id: i64,
    pub user_id: UserId,
    pub device_id: Option<String>,
    /// Unix ms; `None` never expires.
    pub valid_until_ts: Option<u64>,
    pub refresh_token_id: Option<i64>,
    /// Whether a request was made with it.
    pub used: bool,
    /// For an admin acting as `user_id`: the admin.
    pub puppeted_by: Option<UserId>,
    pub is_guest: bool,
    pub is_admin: bool,
    pub appservice_id: Option<String>,
    pub deactivated: bool,
    pub locked: bool,
    pub suspended: bool,
    pub shadow_banned: bool,
}

/// Returns the token with this hash, if it was issued and not revoked. It may have expired.
pub fn by_hash(tx: &mut Tx, hash: &TokenHash) -> Result<Option<AccessToken>, DbError> {
    tx.query_opt(
        "SELECT t.token_id, t.user_id, t.device_id, t.valid_until_ts, t.refresh_token_id, t.used, t.puppeted_by,
                u.is_guest, u.is_admin, u.appservice_id, u.deactivated, u.locked, u.suspended, u.shadow_banned
         FROM access_tokens t JOIN users u ON u.user_id = t.user_id WHERE t.token_hash = $1",
        &[hash],
        |row| {
            Ok(AccessToken {
                token_id: row.get(0)?,
                user_id: row.get_with(1, |id: String| UserId::try_from(id))?,
                device_id: row.get(2)?,
                valid_until_ts: row.get(3)?,
                refresh_token_id: row.get(4)?,
                used: row.get(5)?,
                puppeted_by: row.get_with(6, |id: Option<String>| id.map(UserId::try_from).transpose())?,
                is_guest: row.get(7)?,
                is_admin: row.get(8)?,
                appservice_id: row.get(9)?,
                deactivated: row.get(10)?,
                locked: row.get(11)?,
                suspended: row.get(12)?,
                shadow_banned: row.get(13)?,
            })
        },
    )
}

/// A new access token.
#[derive(Debug, Clone)]
pub struct NewAccessToken<'a> {
    pub hash: TokenHash,
    pub user_id: &'a str,
    pub device_id: Option<&'a str>,
    pub created_ts: u64,
    pub valid_until_ts: Option<u64>,
    pub refresh_token_id: Option<i64>,
    pub puppeted_by: Option<&'a str>,
}

/// Stores an access token.
pub fn insert(tx: &mut Tx, token: &NewAccessToken) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO access_tokens
         (token_id, token_hash, user_id, device_id, created_ts, valid_until_ts, refresh_token_id, puppeted_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            &token_id(&token.hash),
            &token.hash,
            &token.user_id,
            &token.device_id,
            &token.created_ts,
            &token.valid_until_ts,
            &token.refresh_token_id,
            &token.puppeted_by,
        ],
    )?;
    Ok(())
}

/// Returns the hashes of all access tokens of a user, for dropping them from memory when the user changes.
pub fn hashes_of_user(tx: &mut Tx, user_id: &str) -> Result<Vec<TokenHash>, DbError> {
    tx.query("SELECT token_hash FROM access_tokens WHERE user_id = $1", &[&user_id], first)
}

/// Deletes one access token and the refresh token issued with it. Returns the hash of the deleted token.
pub fn delete(tx: &mut Tx, token_id: i64) -> Result<Vec<TokenHash>, DbError> {
    tx.execute_later(
        "DELETE FROM refresh_tokens WHERE token_id IN
         (SELECT refresh_token_id FROM access_tokens WHERE token_id = $1)",
        &[&token_id],
    )?;
    tx.query("DELETE FROM access_tokens WHERE token_id = $1 RETURNING token_hash", &[&token_id], first)
}

/// Deletes all access and refresh tokens of a device. Returns the hashes of the access tokens.
pub fn delete_of_device(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<Vec<TokenHash>, DbError> {
    tx.execute_later("DELETE FROM refresh_tokens WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    tx.query(
        "DELETE FROM access_tokens WHERE user_id = $1 AND device_id = $2 RETURNING token_hash",
        &[&user_id, &device_id],
        first,
    )
}

/// Deletes all access and refresh tokens of a user. Returns the hashes of the access tokens.
pub fn delete_of_user(tx: &mut Tx, user_id: &str) -> Result<Vec<TokenHash>, DbError> {
    tx.execute_later("DELETE FROM refresh_tokens WHERE user_id = $1", &[&user_id])?;
    tx.query("DELETE FROM access_tokens WHERE user_id = $1 RETURNING token_hash", &[&user_id], first)
}

/// Deletes the access tokens of a user that belong to no device. Returns their hashes.
pub fn delete_without_device(tx: &mut Tx, user_id: &str) -> Result<Vec<TokenHash>, DbError> {
    tx.query(
        "DELETE FROM access_tokens WHERE user_id = $1 AND device_id IS NULL RETURNING token_hash",
        &[&user_id],
        first,
    )
}

/// Records that a request was made with this token, which revokes the tokens it was refreshed from. Returns the hashes
/// of the revoked access tokens.
pub fn mark_used(tx: &mut Tx, token_id: i64) -> Result<Vec<TokenHash>, DbError> {
    let refresh_token_id: Option<Option<i64>> = tx.query_opt(
        "UPDATE access_tokens SET used = 1 WHERE token_id = $1 RETURNING refresh_token_id",
        &[&token_id],
        first,
    )?;
    match refresh_token_id.flatten() {
        Some(id) => end_predecessors(tx, id),
        None => Ok(Vec::new()),
    }
}

/// Deletes the refresh tokens that were exchanged for this one, with their access tokens. Returns the hashes of those.
pub fn end_predecessors(tx: &mut Tx, refresh_token_id: i64) -> Result<Vec<TokenHash>, DbError> {
    let hashes = tx.query(
        "DELETE FROM access_tokens WHERE refresh_token_id IN
         (SELECT token_id FROM refresh_tokens WHERE next_token_id = $1) RETURNING token_hash",
        &[&refresh_token_id],
        first,
    )?;
    tx.execute_later("DELETE FROM refresh_tokens WHERE next_token_id = $1", &[&refresh_token_id])?;
    Ok(hashes)
}

/// A refresh token.
#[derive(Debug, Clone)]
pub struct RefreshToken {
    pub token_id: i64,
    pub user_id: UserId,
    pub device_id: String,
    /// Unix ms; `None` never expires.
    pub valid_until_ts: Option<u64>,
    /// Unix ms when the session ends for good.
    pub session_until_ts: Option<u64>,
    /// The refresh token it was already exchanged for, if any.
    pub next_token_id: Option<i64>,
}

/// Returns the refresh token with this hash.
pub fn refresh_by_hash(tx: &mut Tx, hash: &TokenHash) -> Result<Option<RefreshToken>, DbError> {
    tx.query_opt(
        "SELECT token_id, user_id, device_id, valid_until_ts, session_until_ts, next_token_id
         FROM refresh_tokens WHERE token_hash = $1",
        &[hash],
        |row| {
            Ok(RefreshToken {
                token_id: row.get(0)?,
                user_id: row.get_with(1, |id: String| UserId::try_from(id))?,
                device_id: row.get(2)?,
                valid_until_ts: row.get(3)?,
                session_until_ts: row.get(4)?,
                next_token_id: row.get(5)?,
            })
        },
    )
}

/// A new refresh token.
#[derive(Debug, Clone)]
pub struct NewRefreshToken<'a> {
    pub hash: TokenHash,
    pub user_id: &'a str,
    pub device_id: &'a str,
    pub valid_until_ts: Option<u64>,
    pub session_until_ts: Option<u64>,
}

/// Stores a refresh token and returns its id.
pub fn insert_refresh(tx: &mut Tx, token: &NewRefreshToken) -> Result<i64, DbError> {
    let id = token_id(&token.hash);
    tx.execute_later(
        "INSERT INTO refresh_tokens (token_id, token_hash, user_id, device_id, valid_until_ts, session_until_ts)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[&id, &token.hash, &token.user_id, &token.device_id, &token.valid_until_ts, &token.session_until_ts],
    )?;
    Ok(id)
}

/// Links a refresh token to its successor. The successor of an earlier exchange, whose response the client never used,
/// is deleted with its access token; returns the hashes of such access tokens.
pub fn exchange_refresh(tx: &mut Tx, old: &RefreshToken, next_token_id: i64) -> Result<Vec<TokenHash>, DbError> {
    tx.execute_later(
        "UPDATE refresh_tokens SET next_token_id = $1 WHERE token_id = $2",
        &[&next_token_id, &old.token_id],
    )?;
    let Some(superseded) = old.next_token_id else { return Ok(Vec::new()) };
    tx.execute_later("DELETE FROM refresh_tokens WHERE token_id = $1", &[&superseded])?;
    tx.query("DELETE FROM access_tokens WHERE refresh_token_id = $1 RETURNING token_hash", &[&superseded], first)
}

/// Deletes tokens that expired before `now`. Access tokens are kept for `grace_ms` longer, so that a client that comes
/// back late is asked to refresh instead of to log in.
pub fn delete_expired(tx: &mut Tx, now: u64, grace_ms: u64) -> Result<(), DbError> {
    let bound = now.saturating_sub(grace_ms);
    tx.execute_later("DELETE FROM access_tokens WHERE valid_until_ts < $1", &[&bound])?;
    tx.execute_later("DELETE FROM refresh_tokens WHERE valid_until_ts < $1 OR session_until_ts < $1", &[&bound])?;
    tx.execute_later("DELETE FROM login_tokens WHERE valid_until_ts < $1", &[&now])?;
    tx.execute_later("DELETE FROM openid_tokens WHERE valid_until_ts < $1", &[&now])?;
    Ok(())
}

/// Stores a single-use login token.
pub fn insert_login_token(tx: &mut Tx, hash: &TokenHash, user_id: &str, valid_until_ts: u64) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO login_tokens (token_hash, user_id, valid_until_ts) VALUES ($1, $2, $3)",
        &[hash, &user_id, &valid_until_ts],
    )?;
    Ok(())
}

/// Deletes a login token. Returns its user and until when it was valid (Unix ms).
pub fn take_login_token(tx: &mut Tx, hash: &TokenHash) -> Result<Option<(UserId, u64)>, DbError> {
    tx.query_opt("DELETE FROM login_tokens WHERE token_hash = $1 RETURNING user_id, valid_until_ts", &[hash], |row| {
        Ok((row.get_with(0, |id: String| UserId::try_from(id))?, row.get(1)?))
    })
}

/// The most valid OpenID tokens of one user; older ones are deleted. They last an hour.
const MAX_OPENID_TOKENS_OF_USER: u64 = 200;

/// Stores an OpenID token.
pub fn insert_openid_token(tx: &mut Tx, hash: &TokenHash, user_id: &str, valid_until_ts: u64) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM openid_tokens WHERE user_id = $1 AND token_hash IN
         (SELECT token_hash FROM openid_tokens WHERE user_id = $1 ORDER BY valid_until_ts DESC LIMIT 1000 OFFSET $2)",
        &[&user_id, &(MAX_OPENID_TOKENS_OF_USER - 1)],
    )?;
    tx.execute_later(
        "INSERT INTO openid_tokens (token_hash, user_id, valid_until_ts) VALUES ($1, $2, $3)",
        &[hash, &user_id, &valid_until_ts],
    )?;
    Ok(())
}

/// Returns the user of an OpenID token that is valid at `now`.
pub fn openid_user(tx: &mut Tx, hash: &TokenHash, now: u64) -> Result<Option<UserId>, DbError> {
    tx.query_opt(
        "SELECT user_id FROM openid_tokens WHERE token_hash = $1 AND valid_until_ts > $2",
        &[hash, &now],
        |row| row.get_with(0, |id: String| UserId::try_from(id)),
    )
}
