//! POST /keys/claim, for devices of this server's users.

use std::collections::BTreeMap;

use plexus_protocol::id::UserId;
use plexus_protocol::json::{Object, Value};
use plexus_store::repo::one_time_keys::{self, Key};
use plexus_store::{DbError, Tx};

use super::DeviceKeys;
use crate::device_changes;

/// User to device to the algorithm wanted.
pub type DeviceClaims = BTreeMap<UserId, BTreeMap<String, String>>;
/// User to device to `{algorithm:key id: key}`.
pub type Claimed = BTreeMap<UserId, BTreeMap<String, Object>>;

impl DeviceKeys {
    /// Claims one key for each device: its oldest one-time key, which is deleted before anybody learns of it, or else
    /// its fallback key. Devices without either, and users of other servers, are absent from the answer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim(&self, claims: DeviceClaims) -> Result<Claimed, DbError> {
        let local: DeviceClaims = claims.into_iter().filter(|(user_id, _)| self.is_local(user_id)).collect();
        if local.values().all(BTreeMap::is_empty) {
            return Ok(Claimed::new());
        }
        self.db
            .write(move |tx| {
                let mut claimed = Claimed::new();
                for (user_id, devices) in &local {
                    for (device_id, algorithm) in devices {
                        if let Some(key) = claim_one(tx, user_id, device_id, algorithm)? {
                            claimed.entry(user_id.clone()).or_default().insert(device_id.clone(), key);
                        }
                    }
                }
                Ok(claimed)
            })
            .await
    }
}

fn claim_one(tx: &mut Tx, user_id: &UserId, device_id: &str, algorithm: &str) -> Result<Option<Object>, DbError> {
    if device_id.contains('\0') || algorithm.contains('\0') {
        return Ok(None);
    }
    if let Some(key) = one_time_keys::take_oldest(tx, user_id.as_str(), device_id, algorithm)? {
        device_changes::one_time_keys(tx, user_id, device_id)?;
        return answer(user_id, &key).map(Some);
    }
    match one_time_keys::use_fallback(tx, user_id.as_str(), device_id, algorithm)? {
        Some((key, first_use)) => {
            if first_use {
                device_changes::one_time_keys(tx, user_id, device_id)?;
            }
            answer(user_id, &key).map(Some)
        }
        None => Ok(None),
    }
}

fn answer(user_id: &UserId, key: &Key) -> Result<Object, DbError> {
    let value = Value::parse(&key.key_json)
        .map_err(|error| DbError::bad_data(format!("one_time_keys.key_json of {user_id}"), error))?;
    Ok(Object::from([(format!("{}:{}", key.algorithm, key.key_id), value)]))
}
