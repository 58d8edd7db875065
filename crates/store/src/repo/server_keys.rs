//! The signing keys of other servers.

use crate::db::{Any, Row, ToSql};
use crate::{DbError, Tx};

/// The longest that a key is valid after it was fetched, in ms
/// (<https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period>).
pub const MAX_VALIDITY_MS: u64 = 7 * 86_400_000;

/// A key of a server, and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredServerKey {
    pub server_name: String,
    pub key_id: String,
    /// Unpadded base64.
    pub public_key: String,
    /// Until when it may sign, in Unix ms.
    pub valid_until_ts: u64,
    /// `valid_until_ts` of the response, in Unix ms.
    pub stated_until_ts: u64,
    /// When the response was fetched, in Unix ms.
    pub fetched_ts: u64,
    /// The server that sent the response.
    pub from_server: String,
    /// The signed response.
    pub response: String,
}

/// What decides which of two responses with the same key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseTimes {
    /// `valid_until_ts` as the response states it, in Unix ms.
    pub stated_until_ts: u64,
    /// When the response was fetched, in Unix ms.
    pub fetched_ts: u64,
}

impl StoredServerKey {
    /// The times of the response with this key.
    #[must_use]
    pub fn times(&self) -> ResponseTimes {
        ResponseTimes { stated_until_ts: self.stated_until_ts, fetched_ts: self.fetched_ts }
    }

    /// Whether this key replaces what was `known` of it before. The latest response of the server itself always counts,
    /// whatever earlier ones stated. Another server may return an old response, which counts only if it states a later
    /// time, or if what is known is too old to be believed.
    #[must_use]
    pub fn replaces(&self, known: ResponseTimes) -> bool {
        let is_of_server_itself = self.from_server == self.server_name && self.fetched_ts >= known.fetched_ts;
        is_of_server_itself
            || self.stated_until_ts >= known.stated_until_ts
            || self.fetched_ts > known.fetched_ts.saturating_add(MAX_VALIDITY_MS)
    }
}

/// Returns all known keys of the servers.
pub fn of_servers(tx: &mut Tx<'_>, server_names: &[String]) -> Result<Vec<StoredServerKey>, DbError> {
    tx.query(
        "SELECT server_name, key_id, public_key, valid_until_ts, stated_until_ts, fetched_ts, from_server, response
         FROM server_keys WHERE server_name = ANY($1)",
        &[&Any(server_names)],
        read,
    )
}

/// Stores keys, each at most once, where they replace what is known ([`StoredServerKey::replaces`]).
pub fn put(tx: &mut Tx<'_>, keys: &[StoredServerKey]) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO server_keys
             (server_name, key_id, public_key, valid_until_ts, stated_until_ts, fetched_ts, from_server, response)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (server_name, key_id) DO UPDATE SET public_key = excluded.public_key,
             valid_until_ts = excluded.valid_until_ts, stated_until_ts = excluded.stated_until_ts,
             fetched_ts = excluded.fetched_ts, from_server = excluded.from_server, response = excluded.response
         WHERE (excluded.from_server = excluded.server_name AND excluded.fetched_ts >= server_keys.fetched_ts)
             OR excluded.stated_until_ts >= server_keys.stated_until_ts
             OR excluded.fetched_ts > server_keys.fetched_ts + 604800000",
        keys.iter().map(|key| {
            [
                key.server_name.to_param(),
                key.key_id.to_param(),
                key.public_key.to_param(),
                key.valid_until_ts.to_param(),
                key.stated_until_ts.to_param(),
                key.fetched_ts.to_param(),
                key.from_server.to_param(),
                key.response.to_param(),
            ]
        }),
    )?;
    Ok(())
}

/// Deletes keys that were fetched before `ts` (Unix ms): so old that they would be requested again before use.
pub fn forget_before(tx: &mut Tx<'_>, ts: u64) -> Result<u64, DbError> {
    tx.execute("DELETE FROM server_keys WHERE fetched_ts < $1 AND valid_until_ts < $1", &[&ts])
}

fn read(row: &Row<'_>) -> Result<StoredServerKey, DbError> {
    Ok(StoredServerKey {
        server_name: row.get(0)?,
        key_id: row.get(1)?,
        public_key: row.get(2)?,
        valid_until_ts: row.get(3)?,
        stated_until_ts: row.get(4)?,
        fetched_ts: row.get(5)?,
        from_server: row.get(6)?,
        response: row.get(7)?,
    })
}
