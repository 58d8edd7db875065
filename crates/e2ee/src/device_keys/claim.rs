//! POST /keys/claim, for devices of this server's users.

use std::collections::BTreeMap;

use plexus_protocol::id::UserId;
use plexus_protocol::json::{Object, Value};
use plexus_store::repo::one_time_keys::{self, Key};
use plexus_store::{DbError, Tx, readable};

/// User to device to the algorithm wanted.
pub type DeviceClaims = BTreeMap<UserId, BTreeMap<String, String>>;
/// User to device to `{algorithm:key id: key}`.
pub type Claimed = BTreeMap<UserId, BTreeMap<String, Object>>;

/// Takes one key for each device: its oldest one-time key, which is deleted before anybody learns of it, or else its
/// fallback key. Devices without either are absent from the result.
pub(super) fn take_keys(tx: &mut Tx, claims: &DeviceClaims) -> Result<Claimed, DbError> {
    let wanted: Vec<(&UserId, &str, &str)> = claims.iter().flat_map(possible_claims).collect();
    let rows: Vec<(&str, &str, &str)> =
        wanted.iter().map(|(user_id, device_id, algorithm)| (user_id.as_str(), *device_id, *algorithm)).collect();
    let mut taken: BTreeMap<(String, String), Key> = one_time_keys::take_oldest(tx, &rows)?
        .into_iter()
        .map(|(user_id, device_id, key)| ((user_id, device_id), key))
        .collect();
    let mut claimed = Claimed::new();
    for (user_id, device_id, algorithm) in wanted {
        let key = match taken.remove(&(user_id.as_str().to_owned(), device_id.to_owned())) {
            Some(key) => {
                one_time_keys::announce_change(tx, user_id, device_id)?;
                Some(key)
            }
            None => fallback(tx, user_id, device_id, algorithm)?,
        };
        // A key that cannot be read is used up all the same: the device's next one may be good.
        if let Some(key) = key.and_then(|key| readable(named(user_id, &key))) {
            claimed.entry(user_id.clone()).or_default().insert(device_id.to_owned(), key);
        }
    }
    Ok(claimed)
}

/// Returns the claims for a user's devices, without those that no device can fulfil.
fn possible_claims<'c>(
    (user_id, devices): (&'c UserId, &'c BTreeMap<String, String>),
) -> impl Iterator<Item = (&'c UserId, &'c str, &'c str)> {
    let possible = |(device_id, algorithm): &(&String, &String)| !device_id.contains('\0') && !algorithm.contains('\0');
    devices.iter().filter(possible).map(move |(device_id, algorithm)| (user_id, device_id.as_str(), algorithm.as_str()))
}

fn fallback(tx: &mut Tx, user_id: &UserId, device_id: &str, algorithm: &str) -> Result<Option<Key>, DbError> {
    let Some((key, first_use)) = one_time_keys::use_fallback(tx, user_id.as_str(), device_id, algorithm)? else {
        return Ok(None);
    };
    if first_use {
        one_time_keys::announce_change(tx, user_id, device_id)?;
    }
    Ok(Some(key))
}

/// `{algorithm:key id: key}`
fn named(user_id: &UserId, key: &Key) -> Result<Object, DbError> {
    let value = Value::parse(&key.key_json)
        .map_err(|error| DbError::bad_data(format!("one_time_keys.key_json of {user_id}"), error))?;
    Ok(Object::from([(format!("{}:{}", key.algorithm, key.key_id), value)]))
}
