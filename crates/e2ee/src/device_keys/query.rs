//! POST /keys/query, for users of this server, and the part of their devices that other servers may see.

use std::collections::{BTreeMap, BTreeSet};

use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::repo::device_keys::{self, CrossSigningKey, Signature};
use plexus_store::repo::{device_lists, users};
use plexus_store::{DbError, Position, Tx, readable};

use super::{DeviceKeys, add_signature, stored};

/// The keys of users, with the signatures that the user who queries may see.
#[derive(Debug, Clone, Default)]
pub struct QueriedKeys {
    /// User to device to keys. Every queried local user is there, even without devices.
    pub device_keys: BTreeMap<UserId, BTreeMap<String, Object>>,
    /// The public keys that users trust first, with their signatures.
    pub master_keys: BTreeMap<UserId, Object>,
    /// The public keys with which users sign their devices.
    pub self_signing_keys: BTreeMap<UserId, Object>,
    /// Only that of the user who queries.
    pub user_signing_keys: BTreeMap<UserId, Object>,
    /// Devices, by user, that have keys which cannot be read. They are missing from `device_keys`.
    pub unreadable_devices: BTreeSet<(UserId, String)>,
}

impl DeviceKeys {
    /// Returns the keys of local users: of all their devices where the list is empty. Users of other servers are
    /// ignored. `viewer` is the user who queries.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn query(&self, viewer: &str, wanted: BTreeMap<UserId, Vec<String>>) -> Result<QueriedKeys, DbError> {
        let wanted: BTreeMap<UserId, Vec<String>> =
            wanted.into_iter().filter(|(user_id, _)| self.is_local(user_id) && user_id.is_compliant()).collect();
        if wanted.is_empty() {
            return Ok(QueriedKeys::default());
        }
        let viewer = viewer.to_owned();
        self.db.read(move |tx| query(tx, &viewer, &wanted)).await
    }

    /// `found` with the signatures that `viewer` made on keys of users of other servers, which those servers do not
    /// know.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn with_own_signatures(&self, viewer: &UserId, mut found: QueriedKeys) -> Result<QueriedKeys, DbError> {
        let users = found.device_keys.keys().chain(found.master_keys.keys()).filter(|user_id| !self.is_local(user_id));
        let users: BTreeSet<UserId> = users.cloned().collect();
        if users.is_empty() {
            return Ok(found);
        }
        let viewer = viewer.clone();
        let signatures = self.db.read(move |tx| {
            let user_ids: Vec<&str> = users.iter().map(UserId::as_str).collect();
            device_keys::signatures_on_users(tx, &user_ids, viewer.as_str())
        });
        let mut by_target = Signatures::default();
        signatures.await?.into_iter().for_each(|signature: Signature| by_target.add(signature));
        for (user_id, devices) in &mut found.device_keys {
            devices.iter_mut().for_each(|(device, keys)| by_target.apply(keys, user_id.as_str(), device));
        }
        for (user_id, key) in &mut found.master_keys {
            if let Some(public) = super::cross_signing::public_part(key).map(str::to_owned) {
                by_target.apply(key, user_id.as_str(), &public);
            }
        }
        Ok(found)
    }
}

/// A user's devices as other servers see them.
#[derive(Debug)]
pub struct DeviceList {
    /// The position of the newest change: a server that has the list as of there need not query it.
    pub stream_id: Position,
    /// Device to keys. Devices without keys are not shown.
    pub devices: BTreeMap<String, Object>,
    /// The user's master key, if there is one.
    pub master_key: Option<Object>,
    /// The user's self-signing key, if there is one.
    pub self_signing_key: Option<Object>,
}

impl DeviceKeys {
    /// As [`Self::query`], for another server: without the names of devices unless `with_names`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn query_for_server(
        &self,
        wanted: BTreeMap<UserId, Vec<String>>,
        with_names: bool,
    ) -> Result<QueriedKeys, DbError> {
        let mut found = self.query(OTHER_SERVER, wanted).await?;
        if !with_names {
            found.device_keys.values_mut().for_each(remove_names);
        }
        Ok(found)
    }

    /// Returns all devices of a local user with their keys, for another server; `None` if there is no such account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn device_list(&self, user_id: &UserId, with_names: bool) -> Result<Option<DeviceList>, DbError> {
        if !self.is_local(user_id) {
            return Ok(None);
        }
        let user_id = user_id.clone();
        let list = self.db.read(move |tx| device_list(tx, &user_id)).await?;
        Ok(list.map(|mut list| {
            if !with_names {
                remove_names(&mut list.devices);
            }
            list
        }))
    }
}

/// The viewer for other servers: they see what any of their users may see, which is no signature but those that users
/// made on their own keys.
const OTHER_SERVER: &str = "";

fn device_list(tx: &mut Tx, user_id: &UserId) -> Result<Option<DeviceList>, DbError> {
    if users::get(tx, user_id.as_str())?.is_none_or(|account| account.deactivated) {
        return Ok(None);
    }
    let stream_id = device_lists::newest_of_user(tx, user_id.as_str())?;
    let mut found = query(tx, OTHER_SERVER, &BTreeMap::from([(user_id.clone(), Vec::new())]))?;
    Ok(Some(DeviceList {
        stream_id,
        devices: found.device_keys.remove(user_id).unwrap_or_default(),
        master_key: found.master_keys.remove(user_id),
        self_signing_key: found.self_signing_keys.remove(user_id),
    }))
}

fn remove_names(devices: &mut BTreeMap<String, Object>) {
    for keys in devices.values_mut() {
        keys.remove("unsigned");
    }
}

fn query(tx: &mut Tx, viewer: &str, wanted: &BTreeMap<UserId, Vec<String>>) -> Result<QueriedKeys, DbError> {
    let user_ids: Vec<&str> = wanted.keys().map(UserId::as_str).collect();
    let mut signatures = Signatures::default();
    for signature in device_keys::signatures_on_users(tx, &user_ids, viewer)? {
        signatures.add(signature);
    }
    let mut found = QueriedKeys {
        device_keys: wanted.keys().map(|user_id| (user_id.clone(), BTreeMap::new())).collect(),
        ..QueriedKeys::default()
    };
    for keys in device_keys::of_users(tx, &user_ids)? {
        let Some((user_id, devices)) = wanted.get_key_value(keys.user_id.as_str()) else { continue };
        if !devices.is_empty() && !devices.contains(&keys.device_id) {
            continue;
        }
        let Some(mut object) = readable(stored(&keys.key_json, "device_keys", &keys.user_id)) else {
            found.unreadable_devices.insert((user_id.clone(), keys.device_id));
            continue;
        };
        signatures.apply(&mut object, &keys.user_id, &keys.device_id);
        if let Some(name) = keys.display_name {
            object.insert("unsigned", Object::from([("device_display_name", name)]));
        }
        if let Some(devices) = found.device_keys.get_mut(user_id) {
            devices.insert(keys.device_id, object);
        }
    }
    for key in device_keys::cross_signing_of_users(tx, &user_ids)? {
        add_cross_signing(&mut found, viewer, &signatures, wanted, key);
    }
    Ok(found)
}

fn add_cross_signing(
    found: &mut QueriedKeys,
    viewer: &str,
    signatures: &Signatures,
    wanted: &BTreeMap<UserId, Vec<String>>,
    key: CrossSigningKey,
) {
    let Some((user_id, _)) = wanted.get_key_value(key.user_id.as_str()) else { return };
    let Some(mut object) = readable(stored(&key.key_json, "cross_signing_keys", &key.user_id)) else { return };
    if let Some(public) = super::cross_signing::public_part(&object).map(str::to_owned) {
        signatures.apply(&mut object, &key.user_id, &public);
    }
    let keys = match key.purpose.as_str() {
        "master" => &mut found.master_keys,
        "self_signing" => &mut found.self_signing_keys,
        "user_signing" if key.user_id == viewer => &mut found.user_signing_keys,
        _ => return,
    };
    keys.insert(user_id.clone(), object);
}

/// Signatures by their target: user id, and device id or key.
#[derive(Debug, Default)]
struct Signatures(BTreeMap<(String, String), Vec<Signature>>);

impl Signatures {
    fn add(&mut self, signature: Signature) {
        let on = (signature.target_user_id.clone(), signature.target.clone());
        self.0.entry(on).or_default().push(signature);
    }

    fn apply(&self, object: &mut Object, user_id: &str, target: &str) {
        let on_target = self.0.get(&(user_id.to_owned(), target.to_owned()));
        for one in on_target.into_iter().flatten() {
            add_signature(object, &one.signer_user_id, &one.signer_key_id, &one.signature);
        }
    }
}
