//! Public keys and single signatures.

use base64::Engine;
use ed25519_dalek::{Signature, VerifyingKey};

use super::SigningKey;
use crate::{event::hash::BASE64, json::Object};

/// An ed25519 public key, decoded once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    /// Whether batch and single verification agree for this key.
    pub(super) batchable: bool,
}

/// Public keys whose private half is public knowledge, so their signatures prove nothing.
///
/// The Helm chart of Element Server Suite Community once seeded its generator with a constant, so that every server got
/// the same key (CVE-2026-24044, ELEMENTSEC-2025-1670). Synapse refuses it too.
const LEAKED_KEYS: [&str; 1] = ["l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og"];

/// Why a text is not a usable public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// The text is not the base64 of a usable ed25519 public key.
    #[error("not an ed25519 public key in base64")]
    Malformed,
    /// The private half is public knowledge.
    #[error("its private half is known to everybody (CVE-2026-24044), so anybody can sign with it")]
    Leaked,
}

impl PublicKey {
    /// Reads a key from base64.
    ///
    /// For leaked keys, and for keys that libsodium, and so Synapse, refuses: non-canonical encodings and points of
    /// small order.
    pub fn parse(base64: &str) -> Result<Self, InvalidPublicKey> {
        let bytes = BASE64.decode(base64).map_err(|_| InvalidPublicKey::Malformed)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| InvalidPublicKey::Malformed)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidPublicKey::Malformed)?;
        let point = key.to_edwards();
        if key.is_weak() || point.compress().to_bytes() != bytes {
            return Err(InvalidPublicKey::Malformed);
        }
        let key = Self { key, batchable: point.is_torsion_free() };
        if key.is_leaked() {
            return Err(InvalidPublicKey::Leaked);
        }
        Ok(key)
    }

    /// Whether the private half is public knowledge.
    pub(super) fn is_leaked(&self) -> bool {
        LEAKED_KEYS.contains(&self.to_base64().as_str())
    }

    /// Returns the key in unpadded base64.
    pub fn to_base64(&self) -> String {
        BASE64.encode(self.key.as_bytes())
    }

    /// Whether `signature` (base64) is this key's signature of `message`.
    pub fn verify(&self, message: &[u8], signature: &str) -> bool {
        decode_signature(signature).is_some_and(|signature| self.verify_bytes(message, &signature))
    }

    /// Whether `object` has a valid signature of `entity` by this key under `key_id`
    /// ([Checking for a Signature](https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature)). Not for
    /// events, whose signatures cover their redacted form.
    pub fn verify_object(&self, object: &Object, entity: &str, key_id: &str) -> bool {
        let signatures = object.get_object("signatures").and_then(|all| all.get_object(entity));
        let Some(signature) = signatures.and_then(|of_entity| of_entity.get_str(key_id)) else { return false };
        self.verify(object.to_json_without(&["signatures", "unsigned"]).as_bytes(), signature)
    }

    pub(super) fn verify_bytes(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }

    pub(super) fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }
}

impl SigningKey {
    /// Returns the public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey { key: self.key.verifying_key(), batchable: true }
    }
}

pub(super) fn decode_signature(base64: &str) -> Option<[u8; 64]> {
    BASE64.decode(base64).ok()?.try_into().ok()
}
