//! POST /keys/query, for users of this server.

use std::collections::BTreeMap;

use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::repo::device_keys::{self, CrossSigningKey, Signature};
use plexus_store::{DbError, Tx};

use super::{DeviceKeys, add_signature, stored};

/// The keys of users, with the signatures the asking user may see.
#[derive(Debug, Clone, Default)]
pub struct QueriedKeys {
    /// User to device to keys. Every local user that was asked for is there, also without devices.
    pub device_keys: BTreeMap<UserId, BTreeMap<String, Object>>,
    pub master_keys: BTreeMap<UserId, Object>,
    pub self_signing_keys: BTreeMap<UserId, Object>,
    /// Only the asking user's own.
    pub user_signing_keys: BTreeMap<UserId, Object>,
}

impl DeviceKeys {
    /// The keys of local users: of all their devices where the list is empty. Users of other servers are passed over.
    /// `viewer` is who asks: a local user, or a user id of another server (which sees what its users may see).
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
        let mut object = stored(&keys.key_json, "device_keys", &keys.user_id)?;
        signatures.apply(&mut object, &keys.user_id, &keys.device_id);
        if let Some(name) = keys.display_name {
            object.insert("unsigned", Object::from([("device_display_name", name)]));
        }
        if let Some(devices) = found.device_keys.get_mut(user_id) {
            devices.insert(keys.device_id, object);
        }
    }
    for key in device_keys::cross_signing_of_users(tx, &user_ids)? {
        add_cross_signing(&mut found, viewer, &signatures, wanted, key)?;
    }
    Ok(found)
}

fn add_cross_signing(
    found: &mut QueriedKeys,
    viewer: &str,
    signatures: &Signatures,
    wanted: &BTreeMap<UserId, Vec<String>>,
    key: CrossSigningKey,
) -> Result<(), DbError> {
    let Some((user_id, _)) = wanted.get_key_value(key.user_id.as_str()) else { return Ok(()) };
    let mut object = stored(&key.key_json, "cross_signing_keys", &key.user_id)?;
    if let Some(public) = super::cross_signing::public_part(&object).map(str::to_owned) {
        signatures.apply(&mut object, &key.user_id, &public);
    }
    let keys = match key.purpose.as_str() {
        "master" => &mut found.master_keys,
        "self_signing" => &mut found.self_signing_keys,
        "user_signing" if key.user_id == viewer => &mut found.user_signing_keys,
        _ => return Ok(()),
    };
    keys.insert(user_id.clone(), object);
    Ok(())
}

/// Signatures by what they are on: user id, and device id or key.
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
