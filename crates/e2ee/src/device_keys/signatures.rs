//! POST /keys/signatures/upload.

use std::collections::BTreeMap;

use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::repo::device_keys::{self, Signature};
use plexus_store::repo::device_lists;
use plexus_store::{DbError, Tx};

use super::cross_signing::{CrossSigning, is_signed_by, key_id, public_part, stored_keys};
use super::{signed_part, stored};

/// Why one signature was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFailure {
    /// `M_NOT_FOUND`
    #[error("no such device or cross-signing key")]
    NotFound,
    /// `M_INVALID_PARAM`
    #[error("the signed key is not the one that is stored")]
    Differs,
    /// `M_INVALID_SIGNATURE`
    #[error("no valid signature by the key that must sign it")]
    Invalid,
    /// `M_NOT_FOUND`
    #[error("there is no cross-signing key to sign with")]
    NoSigningKey,
    /// `M_INVALID_PARAM`
    #[error("must be an object")]
    NotAnObject,
}

/// User to device or key to failure.
pub type SignatureFailures = BTreeMap<UserId, BTreeMap<String, SignatureFailure>>;

impl CrossSigning {
    /// Stores the valid signatures among those uploaded, and returns why the others were not stored. `uploads` maps a
    /// user, and a device id or the public part of a cross-signing key, to the signed key object.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn upload_signatures(
        &self,
        signer: &UserId,
        uploads: BTreeMap<UserId, Object>,
    ) -> Result<SignatureFailures, DbError> {
        let signer = signer.clone();
        self.db
            .write(move |tx| {
                let mut failures = SignatureFailures::new();
                for (target, signed) in &uploads {
                    let failed = upload_for_user(tx, &signer, target, signed)?;
                    if !failed.is_empty() {
                        failures.insert(target.clone(), failed);
                    }
                }
                Ok(failures)
            })
            .await
    }
}

fn upload_for_user(
    tx: &mut Tx,
    signer: &UserId,
    target: &UserId,
    signed: &Object,
) -> Result<BTreeMap<String, SignatureFailure>, DbError> {
    let mut failures = BTreeMap::new();
    let mut signed_other = false;
    for (id, object) in signed.iter() {
        let result = match object.as_object() {
            None => Err(SignatureFailure::NotAnObject),
            Some(_) if id.contains('\0') => Err(SignatureFailure::NotFound),
            Some(object) if signer == target => signatures_on_own(tx, signer, id, object)?,
            Some(object) => signature_on_other(tx, signer, target, id, object)?,
        };
        match result {
            Err(failure) => {
                failures.insert(id.to_owned(), failure);
            }
            Ok(signatures) => {
                let mut new = false;
                for signature in &signatures {
                    new |= device_keys::add_signature(tx, signature)?;
                }
                match (new, signer == target) {
                    (true, true) => {
                        let changed = changed_device(tx, target, id)?;
                        device_lists::record(tx, target, changed)?;
                    }
                    (true, false) => signed_other = true,
                    (false, _) => {}
                }
            }
        }
    }
    if signed_other {
        device_lists::record_signature(tx, signer, target)?;
    }
    Ok(failures)
}

/// Returns the device whose keys now look different; [`device_lists::CROSS_SIGNING`] if the master key was signed.
fn changed_device<'a>(tx: &mut Tx, user_id: &UserId, id: &'a str) -> Result<&'a str, DbError> {
    match device_keys::get(tx, user_id.as_str(), id)? {
        Some(_) => Ok(id),
        None => Ok(device_lists::CROSS_SIGNING),
    }
}

type Checked = Result<Vec<Signature>, SignatureFailure>;

/// A user's devices are signed by the self-signing key, and the master key by the devices.
fn signatures_on_own(tx: &mut Tx, user_id: &UserId, id: &str, object: &Object) -> Result<Checked, DbError> {
    let keys = stored_keys(tx, user_id)?;
    if let Some(json) = device_keys::get(tx, user_id.as_str(), id)? {
        let device = stored(&json, "device_keys", user_id.as_str())?;
        if signed_part(&device) != signed_part(object) {
            return Ok(Err(SignatureFailure::Differs));
        }
        let Some(signing_key) = keys.get("self_signing") else {
            return Ok(Err(SignatureFailure::NoSigningKey));
        };
        return Ok(by_key(user_id, user_id, id, object, signing_key));
    }
    let Some(master) = keys.get("master").filter(|master| public_part(master) == Some(id)) else {
        return Ok(Err(SignatureFailure::NotFound));
    };
    if signed_part(master) != signed_part(object) {
        return Ok(Err(SignatureFailure::Differs));
    }
    let mut valid = Vec::new();
    for (key_id, signature) in signatures_of(object, user_id) {
        let Some(device_id) = key_id.strip_prefix("ed25519:").filter(|id| !id.contains('\0')) else { continue };
        let Some(json) = device_keys::get(tx, user_id.as_str(), device_id)? else { continue };
        let device = stored(&json, "device_keys", user_id.as_str())?;
        let public = device.get_object("keys").and_then(|keys| keys.get_str(key_id));
        let key = public.and_then(|public| PublicKey::parse(public).ok());
        if key.is_some_and(|key| key.verify_object(object, user_id.as_str(), key_id)) {
            valid.push(new_signature(user_id, user_id, id, key_id, signature));
        }
    }
    Ok(if valid.is_empty() { Err(SignatureFailure::Invalid) } else { Ok(valid) })
}

/// Another user's master key is signed by the signer's user-signing key.
fn signature_on_other(
    tx: &mut Tx,
    signer: &UserId,
    target: &UserId,
    id: &str,
    object: &Object,
) -> Result<Checked, DbError> {
    let signer_keys = stored_keys(tx, signer)?;
    let Some(signing_key) = signer_keys.get("user_signing") else {
        return Ok(Err(SignatureFailure::NoSigningKey));
    };
    let target_keys = stored_keys(tx, target)?;
    let Some(master) = target_keys.get("master").filter(|master| public_part(master) == Some(id)) else {
        return Ok(Err(SignatureFailure::NotFound));
    };
    if signed_part(master) != signed_part(object) {
        return Ok(Err(SignatureFailure::Differs));
    }
    Ok(by_key(signer, target, id, object, signing_key))
}

/// Returns the signature on `object` by the cross-signing key `signing_key` of `signer`.
fn by_key(signer: &UserId, target: &UserId, id: &str, object: &Object, signing_key: &Object) -> Checked {
    if !is_signed_by(object, signing_key, signer) {
        return Err(SignatureFailure::Invalid);
    }
    let key_id = key_id(signing_key).unwrap_or_default();
    signatures_of(object, signer)
        .find(|(signed_with, _)| *signed_with == key_id)
        .map(|(_, signature)| vec![new_signature(signer, target, id, key_id, signature)])
        .ok_or(SignatureFailure::Invalid)
}

fn signatures_of<'a>(object: &'a Object, signer: &UserId) -> impl Iterator<Item = (&'a str, &'a str)> {
    let signatures = object.get_object("signatures").and_then(|all| all.get_object(signer.as_str()));
    signatures.into_iter().flat_map(Object::iter).filter_map(|(key_id, value)| Some((key_id, value.as_str()?)))
}

fn new_signature(signer: &UserId, target: &UserId, id: &str, key_id: &str, signature: &str) -> Signature {
    Signature {
        target_user_id: target.as_str().to_owned(),
        target: id.to_owned(),
        signer_user_id: signer.as_str().to_owned(),
        signer_key_id: key_id.to_owned(),
        signature: signature.to_owned(),
    }
}
