//! Content hashes, reference hashes and event ids ([Calculating the content
//! hash](https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event), [Calculating the
//! reference hash](https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event)).

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use sha2::{Digest, Sha256};

use super::{Pdu, PduError, redact};
use crate::{
    id::EventId,
    json::{Object, Value, top_level},
    rules::{EventIdFormat, RoomVersionRules},
};

/// Unpadded base64 for writing. Reading accepts padding and set trailing bits, as other servers do.
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Pdu {
    /// Whether `hashes.sha256` is the hash of the event's content. If not, the event must be redacted before it is used
    /// (step 3 of [Checks performed on receipt of a
    /// PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu)).
    pub fn content_hash_matches(&self) -> bool {
        let stated = self.member_json("hashes").and_then(|text| Object::parse(text).ok());
        let stated = stated.as_ref().and_then(|hashes| hashes.get_str("sha256"));
        stated.and_then(|text| BASE64.decode(text).ok()).is_some_and(|hash| hash == content_hash(self.json()))
    }

    /// Computes the event's reference hash.
    pub fn reference_hash(&self) -> [u8; 32] {
        Sha256::digest(self.signable_json()).into()
    }

    /// Returns the text that signatures and the reference hash cover: the redacted event without `signatures` and
    /// `unsigned`.
    pub fn signable_json(&self) -> String {
        signable(self.event_type(), self.content(), self.json(), self.rules())
    }
}

/// Returns the content hash of an event in canonical JSON: SHA-256 of the event without `hashes`, `signatures` and
/// `unsigned`.
pub fn content_hash(json: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut separator = "{";
    for field in top_level(json).filter(|f| !matches!(f.key, "hashes" | "signatures" | "unsigned")) {
        hasher.update(separator);
        hasher.update(field.member);
        separator = ",";
    }
    if separator == "{" {
        hasher.update(separator);
    }
    hasher.update("}");
    hasher.finalize().into()
}

/// Returns the id of an event whose signable text is `signable`, for the id formats that are hashes.
pub(super) fn event_id(signable: &str, format: EventIdFormat) -> EventId {
    let hash = Sha256::digest(signable);
    EventId::from_hash(&match format {
        EventIdFormat::UrlSafeBase64 => general_purpose::URL_SAFE_NO_PAD.encode(hash),
        EventIdFormat::Base64 | EventIdFormat::Server => BASE64.encode(hash),
    })
}

/// Returns the signable text of an event that is not a [`Pdu`] yet; `json` is its canonical JSON.
pub(super) fn signable_text(object: &Object, json: &str, rules: &RoomVersionRules) -> Result<String, PduError> {
    let event_type = match object.get("type") {
        Some(Value::String(text)) => text,
        Some(_) => return Err(PduError::WrongType("type")),
        None => return Err(PduError::Missing("type")),
    };
    let content = match object.get("content") {
        Some(Value::Object(content)) => content,
        Some(_) => return Err(PduError::WrongType("content")),
        None => return Err(PduError::Missing("content")),
    };
    Ok(signable(event_type, content, json, rules))
}

fn signable(event_type: &str, content: &Object, json: &str, rules: &RoomVersionRules) -> String {
    let content = redact::redacted_content(event_type, content, &rules.redaction);
    let kept = top_level(json).filter(|field| {
        redact::keeps_top_level(field.key, &rules.redaction) && !matches!(field.key, "signatures" | "unsigned")
    });
    let mut text = String::with_capacity(1024);
    redact::join_members(&mut text, kept, &content.to_json());
    text
}
