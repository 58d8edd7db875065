//! Checks the response in which a server publishes its keys
//! (<https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>).

use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::{Object, ParseError};
use plexus_store::repo::server_keys::{MAX_VALIDITY_MS, StoredServerKey};

/// The most keys one response may have.
const MAX_KEYS: usize = 200;
/// The longest key id, in bytes.
const MAX_KEY_ID_BYTES: usize = 255;

/// Why a key response is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResponseError {
    #[error("it is not JSON: {0}")]
    Json(#[from] ParseError),
    #[error("it is of {found:?}, not of {wanted}")]
    Server { wanted: ServerName, found: Option<String> },
    #[error("{0} is missing or of the wrong type")]
    Field(&'static str),
    #[error("it has more than {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("it is not signed by a key in it")]
    Unsigned,
    #[error("the signature by {0} is wrong")]
    Signature(String),
}

/// A response that was checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeyResponse {
    pub(super) server: ServerName,
    pub(super) keys: Vec<StoredServerKey>,
}

impl KeyResponse {
    /// Checks that the response, which `from` returned at `now` (Unix ms), is about `server` and signed by it.
    pub(super) fn check(
        object: &Object,
        server: &ServerName,
        from: &ServerName,
        now: u64,
    ) -> Result<Self, ResponseError> {
        let found = object.get_str("server_name");
        if found != Some(server.as_str()) {
            return Err(ResponseError::Server { wanted: server.clone(), found: found.map(str::to_owned) });
        }
        let stated = object.get("valid_until_ts").and_then(|value| value.as_u64());
        let stated = stated.ok_or(ResponseError::Field("valid_until_ts"))?.min(i64::MAX.unsigned_abs());
        let current = object.get_object("verify_keys").ok_or(ResponseError::Field("verify_keys"))?;
        let old = object.get_object("old_verify_keys");
        if current.len() + old.map_or(0, Object::len) > MAX_KEYS {
            return Err(ResponseError::TooManyKeys);
        }
        let current: Vec<(&str, PublicKey)> = usable(current).map(|(id, key, _)| (id, key)).collect();
        check_signatures(object, server, &current)?;
        let response = object.to_json();
        let stored = |key_id: &str, key: PublicKey, valid_until_ts| StoredServerKey {
            server_name: server.as_str().to_owned(),
            key_id: key_id.to_owned(),
            public_key: key.to_base64(),
            valid_until_ts,
            stated_until_ts: stated,
            fetched_ts: now,
            from_server: from.as_str().to_owned(),
            response: response.clone(),
        };
        let until = stated.min(now.saturating_add(MAX_VALIDITY_MS));
        let mut keys: Vec<_> = current.iter().map(|(id, key)| stored(id, *key, until)).collect();
        for (id, key, entry) in old.into_iter().flat_map(usable) {
            let expired = entry.get("expired_ts").and_then(|value| value.as_u64());
            if let Some(expired) = expired.filter(|_| current.iter().all(|(current, _)| *current != id)) {
                keys.push(stored(id, key, expired.min(now)));
            }
        }
        Ok(Self { server: server.clone(), keys })
    }
}

/// The ed25519 keys in `verify_keys` or `old_verify_keys`: id, key and entry.
fn usable(keys: &Object) -> impl Iterator<Item = (&str, PublicKey, &Object)> {
    keys.iter().filter_map(|(id, entry)| {
        let valid_id =
            id.starts_with("ed25519:") && id.len() <= MAX_KEY_ID_BYTES && id.bytes().all(|b| b.is_ascii_graphic());
        let entry = entry.as_object().filter(|_| valid_id)?;
        let key = PublicKey::parse(entry.get_str("key")?).ok()?;
        Some((id, key, entry))
    })
}

/// At least one of the current keys must have signed, and none wrongly.
fn check_signatures(object: &Object, server: &ServerName, keys: &[(&str, PublicKey)]) -> Result<(), ResponseError> {
    let signatures = object.get_object("signatures").and_then(|all| all.get_object(server.as_str()));
    let signatures = signatures.ok_or(ResponseError::Unsigned)?;
    let mut signed = false;
    for (id, key) in keys.iter().filter(|(id, _)| signatures.contains_key(id)) {
        if !key.verify_object(object, server.as_str(), id) {
            return Err(ResponseError::Signature((*id).to_owned()));
        }
        signed = true;
    }
    if signed { Ok(()) } else { Err(ResponseError::Unsigned) }
}
