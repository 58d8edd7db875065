//! Rule 5.4.1: an invite that redeems an `m.room.third_party_invite`.

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

/// Identity servers have been seen to use either alphabet, with and without padding.
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
    // 5.4.1.4. For this user.
    if mxid != target {
        return Err(AuthRejection::ThirdPartyInviteForOtherUser);
    }
    // 5.4.1.5. Known in the room.
    let invite = (room.state)("m.room.third_party_invite", token).ok_or(AuthRejection::UnknownThirdPartyInvite)?;
    // 5.4.1.6. By the same sender.
    if invite.sender() != event.sender() {
        return Err(AuthRejection::ThirdPartyInviteOfOtherUser);
    }
    // 5.4.1.7. Any signature by any of the public keys.
    if signed_by_any(signed, &public_keys(invite.content())) {
        return Ok(());
    }
    // 5.4.1.8. Otherwise, reject.
    Err(AuthRejection::ThirdPartyInviteNotSigned)
}

/// `public_key`, and each `public_key` in the list `public_keys`; what is not a key is left out.
fn public_keys(content: &Object) -> Vec<VerifyingKey> {
    let listed = content.get_array("public_keys").unwrap_or_default();
    let listed = listed.iter().filter_map(|entry| entry.as_object()?.get_str("public_key"));
    let keys = content.get_str("public_key").into_iter().chain(listed);
    keys.filter_map(|key| VerifyingKey::from_bytes(&decode(key)?.try_into().ok()?).ok()).collect()
}

/// Whether one of the signatures (Appendices, "Checking for a Signature") is by one of the keys.
fn signed_by_any(signed: &Object, keys: &[VerifyingKey]) -> bool {
    let mut unsigned = signed.clone();
    unsigned.remove("signatures");
    unsigned.remove("unsigned");
    let Ok(message) = unsigned.to_canonical_json() else {
        return false;
    };
    let servers = signed.get_object("signatures").into_iter().flat_map(Object::values);
    let signatures = servers
        .filter_map(Value::as_object)
        .flat_map(Object::iter)
        .filter(|(key_id, _)| key_id.starts_with("ed25519:"))
        .filter_map(|(_, signature)| Signature::from_slice(&decode(signature.as_str()?)?).ok());
    let signatures = signatures.collect::<Vec<_>>();
    keys.iter().any(|key| signatures.iter().any(|s| key.verify_strict(message.as_bytes(), s).is_ok()))
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    STANDARD.decode(base64).or_else(|_| URL_SAFE.decode(base64)).ok()
}
