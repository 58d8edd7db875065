//! POST /keys/device_signing/upload.

use std::collections::BTreeMap;

use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::id::UserId;
use plexus_protocol::json::{NotPortable, Object};
use plexus_store::repo::{device_keys, device_lists};
use plexus_store::{Database, DbError, Tx};

use super::{signed_part, stored};

/// Largest key in bytes of canonical JSON: two of them, with their signatures, are sent in one `m.signing_key_update`,
/// which has at most 64 KiB.
const MAX_KEY_BYTES: usize = 24 * 1024;

/// The cross-signing keys a client uploads.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are named as in the specification")]
pub struct CrossSigningUpload {
    pub master_key: Option<Object>,
    pub self_signing_key: Option<Object>,
    pub user_signing_key: Option<Object>,
}

impl CrossSigningUpload {
    fn keys(&self) -> impl Iterator<Item = (&'static str, &Object)> {
        [
            ("master", &self.master_key),
            ("self_signing", &self.self_signing_key),
            ("user_signing", &self.user_signing_key),
        ]
        .into_iter()
        .filter_map(|(purpose, key)| key.as_ref().map(|key| (purpose, key)))
    }
}

/// How an upload relates to what is stored: it decides whether user-interactive authentication is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossSigningState {
    /// The first keys: no authentication.
    First,
    /// The stored keys: nothing to do and no authentication.
    Unchanged,
    /// Other keys replace the stored ones: authentication, unless an administrator has just allowed it without.
    Replaces {
        /// Whether an administrator has just allowed it without authentication.
        allowed_without_auth: bool,
    },
}

/// Why cross-signing keys are refused: nothing is stored.
#[derive(Debug, thiserror::Error)]
pub enum CrossSigningError {
    /// 400 `M_INVALID_PARAM`
    #[error("Invalid {purpose} key: {problem}")]
    Invalid {
        /// `master`, `self_signing` or `user_signing`.
        purpose: &'static str,
        /// The rule that the key breaks.
        problem: &'static str,
    },
    /// 400 `M_BAD_JSON`
    #[error("The {purpose} key is not canonical JSON: {problem}")]
    NotPortable {
        /// `master`, `self_signing` or `user_signing`.
        purpose: &'static str,
        /// The part that other servers could not read.
        problem: NotPortable,
    },
    /// 400 `M_MISSING_PARAM`
    #[error("No master key available")]
    NoMasterKey,
    /// 400 `M_INVALID_SIGNATURE`
    #[error("The {0} key is not signed by the master key")]
    NotSigned(&'static str),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

type StoredKeys = BTreeMap<String, Object>;

/// Cross-signing keys of this server's users, and signatures on their keys
/// (<https://spec.matrix.org/v1.19/client-server-api/#cross-signing>).
#[derive(Clone)]
pub struct CrossSigning {
    pub(super) db: Database,
}

impl CrossSigning {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    /// Compares an upload with what is stored. `now` is in Unix ms.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn state(
        &self,
        user_id: &UserId,
        upload: &CrossSigningUpload,
        now: u64,
    ) -> Result<CrossSigningState, DbError> {
        let (user_id, upload) = (user_id.clone(), upload.clone());
        self.db
            .read(move |tx| {
                let stored = stored_keys(tx, &user_id)?;
                if !stored.contains_key("master") {
                    return Ok(CrossSigningState::First);
                }
                let same = |purpose: &str, key: &Object| {
                    stored.get(purpose).is_some_and(|stored| signed_part(stored) == signed_part(key))
                };
                if upload.keys().all(|(purpose, key)| same(purpose, key)) {
                    return Ok(CrossSigningState::Unchanged);
                }
                let until = device_keys::cross_signing_reset_until(tx, user_id.as_str())?;
                Ok(CrossSigningState::Replaces { allowed_without_auth: until.is_some_and(|until| now < until) })
            })
            .await
    }

    /// Stores cross-signing keys and announces the change.
    ///
    /// # Errors
    /// See [`CrossSigningError`].
    pub async fn upload(&self, user_id: &UserId, upload: CrossSigningUpload) -> Result<(), CrossSigningError> {
        for (purpose, key) in upload.keys() {
            check(user_id, purpose, key)?;
        }
        let user_id = user_id.clone();
        self.db
            .write(move |tx| {
                let stored = stored_keys(tx, &user_id)?;
                let master = upload.master_key.as_ref().or_else(|| stored.get("master"));
                let master = master.ok_or(CrossSigningError::NoMasterKey)?;
                for (purpose, key) in upload.keys().filter(|(purpose, _)| *purpose != "master") {
                    if !is_signed_by(key, master, &user_id) {
                        return Err(CrossSigningError::NotSigned(purpose));
                    }
                }
                let (mut public, mut private) = (false, false);
                for (purpose, key) in upload.keys() {
                    let changed = device_keys::set_cross_signing(tx, user_id.as_str(), purpose, &key.to_json())?;
                    *if purpose == "user_signing" { &mut private } else { &mut public } |= changed;
                }
                if public {
                    device_lists::record(tx, &user_id, device_lists::CROSS_SIGNING)?;
                } else if private {
                    // Only the user can see it: https://spec.matrix.org/v1.19/client-server-api/#cross-signing
                    device_lists::record_signature(tx, &user_id, &user_id)?;
                }
                Ok(())
            })
            .await
    }

    /// Lets a user replace the cross-signing keys without authentication until `until_ts` (Unix ms). Returns `false`
    /// when there are none to replace.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn allow_reset(&self, user_id: &UserId, until_ts: u64) -> Result<bool, DbError> {
        let user_id = user_id.clone();
        self.db
            .write(move |tx| {
                if !stored_keys(tx, &user_id)?.contains_key("master") {
                    return Ok(false);
                }
                device_keys::allow_cross_signing_reset(tx, user_id.as_str(), until_ts)?;
                Ok(true)
            })
            .await
    }
}

/// Returns a user's stored cross-signing keys by purpose.
pub(super) fn stored_keys(tx: &mut Tx, user_id: &UserId) -> Result<StoredKeys, DbError> {
    device_keys::cross_signing_of_users(tx, &[user_id.as_str()])?
        .into_iter()
        .map(|key| Ok((key.purpose, stored(&key.key_json, "cross_signing_keys", &key.user_id)?)))
        .collect()
}

/// Returns the public part of a cross-signing key: it has exactly one, which is also its id.
pub(super) fn public_part(key: &Object) -> Option<&str> {
    key_id(key)?.split_once(':').map(|(_, public)| public)
}

/// `ed25519:<public part>`.
pub(super) fn key_id(key: &Object) -> Option<&str> {
    key.get_object("keys")?.keys().next()
}

fn check(user_id: &UserId, purpose: &'static str, key: &Object) -> Result<(), CrossSigningError> {
    let refuse = |problem| Err(CrossSigningError::Invalid { purpose, problem });
    if key.get_str("user_id") != Some(user_id.as_str()) {
        return refuse("user_id is not that of the access token");
    }
    let usage = key.get_array("usage").unwrap_or_default();
    if !usage.iter().any(|one| one.as_str() == Some(purpose)) {
        return refuse("usage does not name it");
    }
    let keys = key.get_object("keys").filter(|keys| keys.len() == 1);
    let Some((id, value)) = keys.and_then(|keys| keys.iter().next()) else {
        return refuse("keys must hold exactly one key");
    };
    let public = id.strip_prefix("ed25519:");
    if public.is_none() || public != value.as_str() || public.is_some_and(|key| PublicKey::parse(key).is_err()) {
        return refuse("keys must map ed25519:<public key> to the public key");
    }
    let is_signatures = |value: &plexus_protocol::json::Value| {
        value.as_object().is_some_and(|of_user| of_user.values().all(|one| one.as_str().is_some()))
    };
    if key.get("signatures").is_some()
        && !key.get_object("signatures").is_some_and(|all| all.values().all(is_signatures))
    {
        return refuse("signatures must be an object of objects of strings");
    }
    if key.to_json().len() > MAX_KEY_BYTES {
        return refuse("it is too large");
    }
    key.check_portable().map_err(|problem| CrossSigningError::NotPortable { purpose, problem })
}

/// Whether `user_id`'s key `signer` signed `object`.
pub(super) fn is_signed_by(object: &Object, signer: &Object, user_id: &UserId) -> bool {
    let (Some(key_id), Some(public)) = (key_id(signer), public_part(signer)) else { return false };
    PublicKey::parse(public).is_ok_and(|key| key.verify_object(object, user_id.as_str(), key_id))
}
