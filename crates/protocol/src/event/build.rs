//! Building, hashing and signing new events.

use base64::{Engine, engine::general_purpose};
use sha2::{Digest, Sha256};

use super::{Pdu, PduError, hash, parse, sign::SigningKey};
use crate::{
    id::{EventId, RoomId, ServerName, UserId},
    json::{MAX_PORTABLE_NESTING, NotCanonical, Object, Value},
    rules::{EventIdFormat, RoomVersion},
};

/// Why an event cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The result would not be an event of the room version.
    #[error(transparent)]
    Pdu(#[from] PduError),
    /// A number has no canonical form.
    #[error("event is not canonical JSON: {0}")]
    NotCanonical(#[from] NotCanonical),
    /// The content nests too deep for other servers and clients.
    #[error("content of the event nests deeper than {MAX_PORTABLE_NESTING}")]
    TooDeep,
}

/// An event before it is hashed and signed.
#[derive(Debug, Clone)]
pub struct PduBuilder {
    /// `None` only for the create event of room version 12 and later.
    pub room_id: Option<RoomId>,
    /// The user who sends the event.
    pub sender: UserId,
    /// The event `type`.
    pub event_type: String,
    /// `Some` for a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: Object,
    /// The `unsigned` object, which is neither hashed nor signed.
    pub unsigned: Option<Object>,
    /// For `m.room.redaction`; written where the room version expects it.
    pub redacts: Option<EventId>,
    /// The forward extremities that the event follows.
    pub prev_events: Vec<EventId>,
    /// The events chosen by the auth events selection.
    pub auth_events: Vec<EventId>,
    /// One more than the greatest depth of the previous events.
    pub depth: u64,
    /// Unix milliseconds.
    pub origin_server_ts: u64,
}

impl PduBuilder {
    /// Hashes the event and signs it as `server` with `key`.
    ///
    /// # Errors
    /// When the event cannot be represented or exceeds a limit.
    pub fn build(self, version: RoomVersion, key: &SigningKey, server: &ServerName) -> Result<Pdu, BuildError> {
        finish(self.into_template(version), version, key, server)
    }

    /// Returns the event without id, hashes and signatures, as in the response to `make_join`.
    pub fn into_template(mut self, version: RoomVersion) -> Object {
        let rules = version.rules();
        let mut event = Object::new();
        if let Some(redacts) = self.redacts {
            if rules.redaction.redacts_in_content {
                self.content.insert("redacts", redacts.as_str())
            } else {
                event.insert("redacts", redacts.as_str())
            };
        }
        let references = |ids: Vec<EventId>| -> Vec<Value> {
            let reference = |id: EventId| match rules.event_id_format {
                EventIdFormat::Server => Value::Array(vec![id.as_str().into(), Object::new().into()]),
                _ => id.as_str().into(),
            };
            ids.into_iter().map(reference).collect()
        };
        event.insert("auth_events", references(self.auth_events));
        event.insert("content", self.content);
        event.insert("depth", self.depth);
        event.insert("origin_server_ts", self.origin_server_ts);
        event.insert("prev_events", references(self.prev_events));
        event.insert("sender", self.sender.as_str());
        event.insert("type", self.event_type);
        if let Some(room_id) = self.room_id {
            event.insert("room_id", room_id.as_str());
        }
        if let Some(state_key) = self.state_key {
            event.insert("state_key", state_key);
        }
        if let Some(unsigned) = self.unsigned {
            event.insert("unsigned", unsigned);
        }
        event
    }
}

/// Gives an event template, for example from a `make_join` response, its id, hashes and signature.
///
/// # Errors
/// When the template is not an event of this room version.
pub fn finish(
    mut event: Object,
    version: RoomVersion,
    key: &SigningKey,
    server: &ServerName,
) -> Result<Pdu, BuildError> {
    let rules = version.rules();
    event.remove("hashes");
    event.remove("signatures");
    if rules.strict_canonical_json {
        event.check_canonical()?;
    }
    if event.get_object("content").is_some_and(|content| content.nests_deeper_than(MAX_PORTABLE_NESTING)) {
        return Err(BuildError::TooDeep);
    }
    event.remove("event_id");
    let mut json = event.to_json();
    if rules.event_id_format == EventIdFormat::Server {
        // Any unique id will do, and the event's own hash needs no randomness.
        let name = general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(&json));
        set(&mut event, &mut json, "event_id", format!("${name}:{server}").into());
    }
    let content_hash = hash::BASE64.encode(hash::content_hash(&json));
    set(&mut event, &mut json, "hashes", Object::from([("sha256", content_hash)]).into());
    let signable = hash::signable_text(&event, &json, rules)?;
    set(&mut event, &mut json, "signatures", key.signatures(server, signable.as_bytes()).into());
    let pdu = parse::from_signable(event, json, &signable, version)?;
    // Formats that are only accepted from other servers are not used for new events.
    for (field, text) in [("type", Some(pdu.event_type())), ("state_key", pdu.state_key())] {
        if text.is_some_and(|text| text.len() > super::MAX_FIELD) {
            return Err(PduError::FieldTooLong(field).into());
        }
    }
    Ok(pdu)
}

/// Sets a member of an event object and of its canonical JSON.
fn set(event: &mut Object, json: &mut String, key: &str, value: Value) {
    *json = parse::replace_member(json, key, Some(&value.to_json()));
    event.insert(key, value);
}
