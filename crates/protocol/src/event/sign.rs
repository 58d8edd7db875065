//! Signing with ed25519, and verifying the signatures that an event needs
//! ([Signing events](https://spec.matrix.org/v1.19/server-server-api/#signing-events)).

mod batch;
mod public_key;
#[cfg(test)]
mod tests;
mod verify;

use base64::Engine;
use ed25519_dalek::Signer;

use super::{Pdu, PduError, hash::BASE64, parse};
use crate::{
    id::ServerName,
    json::{NotCanonical, Object},
};

pub use public_key::{InvalidPublicKey, PublicKey};
pub use verify::{KeyLookup, KnownKey, SignatureError, required_keys, required_servers, verify, verify_all};

/// A server's signing key.
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    /// `ed25519:version`.
    id: Box<str>,
}

/// Why a signing key file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The file has no line with a key.
    #[error("the key file has no key: expected a line \"ed25519 <version> <base64 seed>\"")]
    Empty,
    /// The key is not an ed25519 key.
    #[error("the key algorithm {0:?} is not ed25519")]
    Algorithm(String),
    /// The version, which becomes part of the key id, has a character that is not allowed.
    #[error("the key version {0:?} has a character that is not allowed")]
    Version(String),
    /// The seed is not 32 bytes of base64.
    #[error("the seed is not 32 bytes of base64")]
    Seed,
    /// The private half is public knowledge.
    #[error("its private half is known to everybody (CVE-2026-24044), so anybody could sign as this server")]
    Leaked,
}

impl SigningKey {
    /// Reads a key file as written by Synapse: `ed25519 a_AbCd <unpadded base64 seed>`. Only the first key is used.
    ///
    /// # Errors
    /// Why the file has no usable key.
    pub fn parse_file(text: &str) -> Result<Self, KeyFileError> {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).ok_or(KeyFileError::Empty)?;
        let mut words = line.split_ascii_whitespace();
        let (Some(algorithm), Some(version), Some(seed)) = (words.next(), words.next(), words.next()) else {
            return Err(KeyFileError::Empty);
        };
        if algorithm != "ed25519" {
            return Err(KeyFileError::Algorithm(algorithm.to_owned()));
        }
        // The specification allows letters, digits and '_'. Synapse never checked this, and its files must work.
        if !version.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\:,".contains(&b)) {
            return Err(KeyFileError::Version(version.to_owned()));
        }
        let seed =
            BASE64.decode(seed).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or(KeyFileError::Seed)?;
        let key = Self::generate(&seed, version);
        if key.public_key().is_leaked() {
            return Err(KeyFileError::Leaked);
        }
        Ok(key)
    }

    /// Makes the key of a random `seed`, with the id `ed25519:version` (Synapse makes versions of `a_` and four random
    /// letters).
    pub fn generate(seed: &[u8; 32], version: &str) -> Self {
        Self { key: ed25519_dalek::SigningKey::from_bytes(seed), id: format!("ed25519:{version}").into() }
    }

    /// Returns the line that [`SigningKey::parse_file`] reads, without a line end. Secret.
    pub fn to_file_line(&self) -> String {
        format!("ed25519 {} {}", self.version(), BASE64.encode(self.key.to_bytes()))
    }

    /// `ed25519:version`, as signatures and key responses name it.
    pub fn key_id(&self) -> &str {
        &self.id
    }

    /// Returns the part of the key id after the algorithm.
    pub fn version(&self) -> &str {
        self.id.strip_prefix("ed25519:").unwrap_or(&self.id)
    }

    /// The public key in unpadded base64, as key responses hold it.
    pub fn public_key_base64(&self) -> String {
        BASE64.encode(self.key.verifying_key().as_bytes())
    }

    /// Returns the signature of `message` in unpadded base64.
    pub fn sign(&self, message: &[u8]) -> String {
        BASE64.encode(self.key.sign(message).to_bytes())
    }

    /// Adds a signature by `entity` to the `signatures` of `object`
    /// ([Signing Details](https://spec.matrix.org/v1.19/appendices/#signing-details)). Not for events, whose signatures
    /// cover their redacted form.
    ///
    /// # Errors
    /// When the object has no canonical JSON.
    pub fn sign_object(&self, object: &mut Object, entity: &str) -> Result<(), NotCanonical> {
        let signatures = object.remove("signatures");
        let unsigned = object.remove("unsigned");
        let signature = object.to_canonical_json().map(|json| self.sign(json.as_bytes()));
        if let Some(unsigned) = unsigned {
            object.insert("unsigned", unsigned);
        }
        let mut signatures = match signatures {
            Some(crate::json::Value::Object(signatures)) => signatures,
            _ => Object::new(),
        };
        let signature = signature?;
        add(&mut signatures, entity, &self.id, signature);
        object.insert("signatures", signatures);
        Ok(())
    }

    /// Returns a `signatures` object with one signature.
    pub(super) fn signatures(&self, server: &ServerName, message: &[u8]) -> Object {
        let mut signatures = Object::new();
        add(&mut signatures, server.as_str(), &self.id, self.sign(message));
        signatures
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

/// Returns the event with an additional signature: of the invited user's server, or of the server that authorised a
/// restricted join.
///
/// # Errors
/// [`PduError::TooLarge`] when there is no room for the signature.
pub fn add_signature(pdu: &Pdu, key: &SigningKey, server: &ServerName) -> Result<Pdu, PduError> {
    with_signature(pdu, server.as_str(), &key.id, key.sign(pdu.signable_json().as_bytes()))
}

/// The most signatures of one server that are copied from another copy of an event: one is needed, and an event's size
/// is limited.
const MAX_COPIED_SIGNATURES: usize = 4;
/// The longest id of a key whose signature is copied, in bytes.
const MAX_KEY_ID_BYTES: usize = 128;

/// Returns the event with the signatures by `server` from another copy of it; `None` when `copy` is a different event
/// or has none. The signatures are not verified.
///
/// # Errors
/// [`PduError::TooLarge`] when there is no room for the signatures.
pub fn with_signatures_of(pdu: &Pdu, copy: &Pdu, server: &str) -> Result<Option<Pdu>, PduError> {
    with_signatures_that(pdu, copy, server, |_, _| true)
}

/// Like [`with_signatures_of`], but copies only valid signatures by keys that were valid when the event was sent;
/// `None` also when there are none.
///
/// # Errors
/// [`PduError::TooLarge`] when there is no room for the signatures.
pub fn with_valid_signatures_of(
    pdu: &Pdu,
    copy: &Pdu,
    server: &str,
    keys: KeyLookup<'_>,
) -> Result<Option<Pdu>, PduError> {
    let message = pdu.signable_json();
    with_signatures_that(pdu, copy, server, |key_id, signature| {
        verify::valid_key(pdu, server, key_id, keys).is_ok_and(|key| key.verify_bytes(message.as_bytes(), signature))
    })
}

/// Returns the ids of the keys whose signatures [`with_signatures_of`] would copy.
pub fn key_ids_of(copy: &Pdu, server: &str) -> Vec<String> {
    signatures_of(copy, server).into_iter().map(|(key_id, ..)| key_id).collect()
}

fn with_signatures_that(
    pdu: &Pdu,
    copy: &Pdu,
    server: &str,
    is_wanted: impl Fn(&str, &[u8; 64]) -> bool,
) -> Result<Option<Pdu>, PduError> {
    if copy.event_id() != pdu.event_id() {
        return Ok(None);
    }
    let mut signed = None;
    for (key_id, text, signature) in signatures_of(copy, server) {
        if is_wanted(&key_id, &signature) {
            signed = Some(with_signature(signed.as_ref().unwrap_or(pdu), server, &key_id, text)?);
        }
    }
    Ok(signed)
}

/// The signatures of a server that can be copied: key id, text and bytes.
fn signatures_of(copy: &Pdu, server: &str) -> Vec<(String, String, [u8; 64])> {
    let stated = copy.member_json("signatures").and_then(|text| Object::parse(text).ok()).unwrap_or_default();
    let of_server = stated.get_object(server).into_iter().flat_map(Object::iter).filter_map(|(key_id, signature)| {
        let text = signature.as_str()?;
        let bytes = public_key::decode_signature(text)?;
        (key_id.starts_with("ed25519:") && key_id.len() <= MAX_KEY_ID_BYTES)
            .then(|| (key_id.to_owned(), text.to_owned(), bytes))
    });
    of_server.take(MAX_COPIED_SIGNATURES).collect()
}

/// Returns the event with an additional, verified signature of `entity`. Every signature that is added to an event is
/// added here, so that none makes it larger than other servers accept.
///
/// # Errors
/// [`PduError::TooLarge`] when there is no room for the signature.
pub(crate) fn with_signature(pdu: &Pdu, entity: &str, key_id: &str, signature: String) -> Result<Pdu, PduError> {
    let stated = pdu.member_json("signatures").and_then(|text| Object::parse(text).ok());
    let mut signatures = stated.unwrap_or_default();
    add(&mut signatures, entity, key_id, signature);
    let json = parse::replace_member(pdu.json(), "signatures", Some(&signatures.to_json()));
    parse::check_size(&json)?;
    Ok(Pdu(std::sync::Arc::new(pdu.0.with_json(json, pdu.content().clone()))))
}

fn add(signatures: &mut Object, entity: &str, key_id: &str, signature: String) {
    match signatures.get_mut(entity).and_then(crate::json::Value::as_object_mut) {
        Some(of_entity) => {
            of_entity.insert(key_id, signature);
        }
        None => {
            signatures.insert(entity, Object::from([(key_id, signature)]));
        }
    }
}
