//! POST /keys/upload.

use std::collections::BTreeMap;

use plexus_protocol::id::UserId;
use plexus_protocol::json::{NotPortable, Object, Value};
use plexus_store::repo::one_time_keys::{self, Key};
use plexus_store::repo::{device_keys, device_lists};
use plexus_store::{DbError, Tx};

use super::DeviceKeys;

/// The largest one-time or fallback key, in bytes of canonical JSON; usual ones have some 250.
const MAX_ONE_TIME_KEY_BYTES: usize = 4_096;
/// The most algorithms for which a device may have fallback keys.
const MAX_FALLBACK_KEYS: u64 = 20;
/// The largest identity keys of a device, in bytes of canonical JSON: with the device's name and the signatures of its
/// owner they are sent in one `m.device_list_update`, which has at most 64 KiB.
const MAX_DEVICE_KEYS_BYTES: usize = 48 * 1024;
/// The most one-time keys of a device, of all algorithms.
const MAX_ONE_TIME_KEYS: u64 = 10_000;
/// The longest name of an algorithm or id of a key, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Keys that a device publishes.
#[derive(Debug, Clone, Default)]
pub struct KeyUpload {
    /// The device's identity keys.
    pub device_keys: Option<Object>,
    /// `algorithm:key id` to key.
    pub one_time_keys: Object,
    /// As `one_time_keys`; a fallback key is given out again and again until it is replaced.
    pub fallback_keys: Object,
}

/// Why nothing of an upload was stored: 400 `M_INVALID_PARAM`, if not said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The identity keys break this rule.
    #[error("device_keys: {0}")]
    DeviceKeys(&'static str),
    /// The name of a one-time or fallback key has another form.
    #[error("{0:?} is not of the form <algorithm>:<key id>")]
    KeyName(String),
    /// The value of this key is neither a string nor an object.
    #[error("key {0:?} must be a string or an object")]
    KeyValue(String),
    /// Another key was uploaded under this name before.
    #[error("One time key {0} already exists with another value")]
    Conflict(String),
    /// 400 `M_BAD_JSON`
    #[error("the keys are not canonical JSON: {0}")]
    NotPortable(#[from] NotPortable),
    /// 413 `M_TOO_LARGE`
    #[error("the keys are too large or too many")]
    TooLarge,
    /// 400 `M_UNKNOWN`: the device was deleted meanwhile.
    #[error("the device does not exist")]
    NoDevice,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl DeviceKeys {
    /// Stores the keys that a device publishes, all or nothing. Returns how many one-time keys it has of each
    /// algorithm.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn upload(
        &self,
        user_id: &UserId,
        device_id: &str,
        upload: KeyUpload,
    ) -> Result<BTreeMap<String, u64>, UploadError> {
        let checked = upload.check(user_id, device_id)?;
        if checked.is_empty() {
            let (user_id, device_id) = (user_id.clone(), device_id.to_owned());
            let counts = self.db.read(move |tx| one_time_keys::counts(tx, user_id.as_str(), &device_id)).await;
            return counts.map_err(UploadError::Database);
        }
        self.db.write(move |tx| checked.store(tx)).await
    }
}

impl KeyUpload {
    /// Checks keys of a device, before they are stored.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub fn check(&self, user_id: &UserId, device_id: &str) -> Result<CheckedUpload, UploadError> {
        let identity = match &self.device_keys {
            Some(keys) => Some(checked_device_keys(user_id, device_id, keys)?),
            None => None,
        };
        Ok(CheckedUpload {
            user_id: user_id.clone(),
            device_id: device_id.to_owned(),
            identity,
            one_time: keys(&self.one_time_keys)?,
            fallback: keys(&self.fallback_keys)?,
        })
    }
}

/// Keys of a device, of the right form and size.
#[derive(Debug)]
pub struct CheckedUpload {
    user_id: UserId,
    device_id: String,
    /// JSON.
    identity: Option<String>,
    one_time: Vec<Key>,
    fallback: Vec<Key>,
}

impl CheckedUpload {
    fn is_empty(&self) -> bool {
        self.identity.is_none() && self.one_time.is_empty() && self.fallback.is_empty()
    }

    /// Stores the keys. Returns how many one-time keys the device has of each algorithm.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub fn store(self, tx: &mut Tx) -> Result<BTreeMap<String, u64>, UploadError> {
        let Self { user_id, device_id, identity, one_time, fallback } = self;
        if let Some(json) = &identity {
            store_identity(tx, &user_id, &device_id, json)?;
        }
        let counts = store_one_time(tx, &user_id, &device_id, one_time)?;
        for key in &fallback {
            one_time_keys::set_fallback(tx, user_id.as_str(), &device_id, key)?;
        }
        if !fallback.is_empty() && one_time_keys::fallback_keys(tx, user_id.as_str(), &device_id)? > MAX_FALLBACK_KEYS {
            return Err(UploadError::TooLarge);
        }
        one_time_keys::announce_change(tx, &user_id, &device_id)?;
        Ok(counts)
    }
}

/// Stores a device's identity keys and announces the change. If they replace other identity keys, one-time keys,
/// fallback keys and others' signatures are worthless, and are deleted.
fn store_identity(tx: &mut Tx, user_id: &UserId, device_id: &str, json: &str) -> Result<(), DbError> {
    let stored = device_keys::get(tx, user_id.as_str(), device_id)?;
    if stored.as_deref() == Some(json) {
        return Ok(());
    }
    device_keys::set(tx, user_id.as_str(), device_id, json)?;
    let identity = |json: &str| Object::parse(json).ok().and_then(|keys| keys.get("keys").cloned());
    if stored.is_some_and(|stored| identity(&stored) != identity(json)) {
        device_keys::delete_signatures_on(tx, user_id.as_str(), device_id)?;
        one_time_keys::delete_of_device(tx, user_id.as_str(), device_id)?;
    }
    device_lists::record(tx, user_id, device_id)
}

/// Stores the keys that are not stored yet, if the device exists. A key may be uploaded again, but not another one
/// under its id. Returns how many keys of each algorithm there are then.
fn store_one_time(
    tx: &mut Tx,
    user_id: &UserId,
    device_id: &str,
    keys: Vec<Key>,
) -> Result<BTreeMap<String, u64>, UploadError> {
    let ids: Vec<&str> = keys.iter().map(|key| key.key_id.as_str()).collect();
    let of_device = one_time_keys::of_device(tx, user_id.as_str(), device_id, &ids)?;
    if !of_device.exists {
        return Err(UploadError::NoDevice);
    }
    let mut counts = of_device.counts;
    let mut new = Vec::new();
    for key in keys {
        let stored = of_device.keys.iter().find(|it| it.algorithm == key.algorithm && it.key_id == key.key_id);
        match stored {
            None => new.push(key),
            Some(stored) if same_key(&stored.key_json, &key.key_json) => {}
            Some(_) => return Err(UploadError::Conflict(format!("{}:{}", key.algorithm, key.key_id))),
        }
    }
    if counts.values().sum::<u64>() + new.len() as u64 > MAX_ONE_TIME_KEYS {
        return Err(UploadError::TooLarge);
    }
    one_time_keys::insert(tx, (user_id.as_str(), device_id), of_device.newest, &new)?;
    for key in new {
        *counts.entry(key.algorithm).or_default() += 1;
    }
    Ok(counts)
}

/// Whether two keys are the same apart from their signatures: a client that starts over makes new signatures.
fn same_key(stored: &str, uploaded: &str) -> bool {
    if stored == uploaded {
        return true;
    }
    match (Object::parse(stored), Object::parse(uploaded)) {
        (Ok(stored), Ok(uploaded)) => super::signed_part(&stored) == super::signed_part(&uploaded),
        _ => false,
    }
}

fn keys(object: &Object) -> Result<Vec<Key>, UploadError> {
    object.iter().map(|(name, value)| key(name, value)).collect()
}

fn key(name: &str, value: &Value) -> Result<Key, UploadError> {
    let named = name.split_once(':').filter(|(algorithm, key_id)| {
        let fits = |part: &str| !part.is_empty() && part.len() <= MAX_NAME_BYTES && !part.contains('\0');
        fits(algorithm) && fits(key_id)
    });
    let (algorithm, key_id) = named.ok_or_else(|| UploadError::KeyName(name.to_owned()))?;
    if value.as_str().is_none() && value.as_object().is_none() {
        return Err(UploadError::KeyValue(name.to_owned()));
    }
    if let Some(key) = value.as_object() {
        key.check_portable()?;
    }
    let key_json = limited(value.to_json(), MAX_ONE_TIME_KEY_BYTES)?;
    Ok(Key { algorithm: algorithm.to_owned(), key_id: key_id.to_owned(), key_json })
}

fn limited(json: String, limit: usize) -> Result<String, UploadError> {
    if json.len() <= limit { Ok(json) } else { Err(UploadError::TooLarge) }
}

/// Returns the identity keys as they are stored: canonical, without `unsigned`, which the server adds.
fn checked_device_keys(user_id: &UserId, device_id: &str, keys: &Object) -> Result<String, UploadError> {
    let refuse = |why| Err(UploadError::DeviceKeys(why));
    if keys.get_str("user_id") != Some(user_id.as_str()) {
        return refuse("user_id is not that of the access token");
    }
    if keys.get_str("device_id") != Some(device_id) {
        return refuse("device_id is not that of the access token");
    }
    if !keys.get_array("algorithms").is_some_and(|all| all.iter().all(|one| one.as_str().is_some())) {
        return refuse("algorithms must be a list of strings");
    }
    if !keys.get_object("keys").is_some_and(|all| all.values().all(|one| one.as_str().is_some())) {
        return refuse("keys must be an object of strings");
    }
    let is_signatures =
        |value: &Value| value.as_object().is_some_and(|of_user| of_user.values().all(|one| one.as_str().is_some()));
    if !keys.get_object("signatures").is_some_and(|all| all.values().all(is_signatures)) {
        return refuse("signatures must be an object of objects of strings");
    }
    let mut kept = keys.clone();
    kept.remove("unsigned");
    kept.check_portable()?;
    limited(kept.to_json(), MAX_DEVICE_KEYS_BYTES)
}
