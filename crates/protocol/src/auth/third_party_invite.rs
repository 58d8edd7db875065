//! [Rule 5.4.1](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules): an invite that redeems an
//! `m.room.third_party_invite`.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ed25519_dalek::{Signature, VerifyingKey};

use super::{AuthRejection, RoomState};
use crate::{
    event::Pdu,
    json::{Object, Value},
};

/// Identity servers use either alphabet, with and without padding.
const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

pub(super) fn check(
    room: &RoomState<'_>,
    event: &Pdu,
    target: &str,
    third_party_invite: &Value,
) -> Result<(), AuthRejection> {
    // 5.4.1.2 and 3. `signed` with `mxid` and `token`.
    let malformed = || AuthRejection::InvalidThirdPartyInvite;
    let signed = third_party_invite.as_object().and_then(|invite| invite.get_object("signed"));
    let signed = signed.ok_or_else(malformed)?;
    let mxid = signed.get_str("mxid").ok_or_else(malformed)?;
    let token = signed.get_str("token").ok_or_else(malformed)?;
    // 5.4.1.4. `mxid` is the invited user.
    if mxid != target {
        return Err(AuthRejection::ThirdPartyInviteForOtherUser);
    }
    // 5.4.1.5. The token is known in the room.
    let invite = (room.state)("m.room.third_party_invite", token).ok_or(AuthRejection::UnknownThirdPartyInvite)?;
    // 5.4.1.6. Both events have the same sender.
    if invite.sender() != event.sender() {
        return Err(AuthRejection::ThirdPartyInviteOfOtherUser);
    }
    // 5.4.1.7. Some signature is valid for some public key.
    if keys_that_signed(invite.content(), signed).is_empty() {
        // 5.4.1.8. Otherwise, reject.
        return Err(AuthRejection::ThirdPartyInviteNotSigned);
    }
    Ok(())
}

/// A key of an `m.room.third_party_invite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteKey<'a> {
    /// The key in base64, as in the event.
    pub public_key: &'a str,
    /// Where to ask whether the key is still valid.
    pub key_validity_url: Option<&'a str>,
}

/// Returns the keys in an `m.room.third_party_invite` content whose signature `signed` bears
/// ([Checking for a Signature](https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature)). Malformed keys are
/// ignored.
pub fn keys_that_signed<'a>(content: &'a Object, signed: &Object) -> Vec<InviteKey<'a>> {
    let mut unsigned = signed.clone();
    unsigned.remove("signatures");
    unsigned.remove("unsigned");
    let Ok(message) = unsigned.to_canonical_json() else {
        return Vec::new();
    };
    let signatures = signatures(signed);
    let has_signed =
        |key: VerifyingKey| signatures.iter().any(|one| key.verify_strict(message.as_bytes(), one).is_ok());
    keys(content).filter(|key| verifying_key(key.public_key).is_some_and(has_signed)).collect()
}

/// Returns `public_key` and each `public_key` in the list `public_keys`.
fn keys(content: &Object) -> impl Iterator<Item = InviteKey<'_>> {
    let listed = content.get_array("public_keys").unwrap_or_default();
    std::iter::once(content).chain(listed.iter().filter_map(Value::as_object)).filter_map(|entry| {
        let public_key = entry.get_str("public_key")?;
        Some(InviteKey { public_key, key_validity_url: entry.get_str("key_validity_url") })
    })
}

fn verifying_key(base64: &str) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&decode(base64)?.try_into().ok()?).ok()
}

fn signatures(signed: &Object) -> Vec<Signature> {
    let servers = signed.get_object("signatures").into_iter().flat_map(Object::values);
    let signatures = servers
        .filter_map(Value::as_object)
        .flat_map(Object::iter)
        .filter(|(key_id, _)| key_id.starts_with("ed25519:"))
        .filter_map(|(_, signature)| Signature::from_slice(&decode(signature.as_str()?)?).ok());
    signatures.collect()
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    STANDARD.decode(base64).or_else(|_| URL_SAFE.decode(base64)).ok()
}
