//! The keys that other servers sign with.

use crate::db::{Any, Row, ToSql};
use crate::{DbError, Tx};

/// A key of a server, and where it was learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredServerKey {
    pub server_name: String,
    pub key_id: String,
    /// Unpadded base64.
    pub public_key: String,
    /// Until when it may sign, in unix ms.
    pub valid_until_ts: u64,
    /// `valid_until_ts` as the response states it, in unix ms.
    pub stated_until_ts: u64,
    /// When the response was fetched, in unix ms.
    pub fetched_ts: u64,
    /// Who told.
    pub from_server: String,
    /// The signed response.
    pub response: String,
}

/// Every known key of the servers.
pub fn of_servers(tx: &mut Tx<'_>, server_names: &[String]) -> Result<Vec<StoredServerKey>, DbError> {
    tx.query(
        "SELECT server_name, key_id, public_key, valid_until_ts, stated_until_ts, fetched_ts, from_server, response
         FROM server_keys WHERE server_name = ANY($1)",
        &[&Any(server_names)],
        read,
    )
}

/// Writes keys, each at most once; one that a response with a later `valid_until_ts` told of stays as it is.
pub fn put(tx: &mut Tx<'_>, keys: &[StoredServerKey]) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO server_keys
             (server_name, key_id, public_key, valid_until_ts, stated_until_ts, fetched_ts, from_server, response)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (server_name, key_id) DO UPDATE SET public_key = excluded.public_key,
             valid_until_ts = excluded.valid_until_ts, stated_until_ts = excluded.stated_until_ts,
             fetched_ts = excluded.fetched_ts, from_server = excluded.from_server, response = excluded.response
         WHERE excluded.stated_until_ts >= server_keys.stated_until_ts",
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

/// Forgets keys that were fetched before `ts` (Unix ms), which is longer ago than any is believed without asking again.
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
