//! Events as they federate: PDUs, parsed once and immutable
//! ([PDUs](https://spec.matrix.org/v1.19/server-server-api/#pdus), and the event format of each room version).
//!
//! ```
//! use plexus_protocol::{event::{Pdu, build::PduBuilder, sign}, json::Object, rules::RoomVersion};
//!
//! let server = "example.org".parse()?;
//! let key = sign::SigningKey::parse_file("ed25519 a_AbCd AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE")?;
//! let event = PduBuilder {
//!     room_id: Some("!room:example.org".parse()?),
//!     sender: "@alice:example.org".parse()?,
//!     event_type: "m.room.message".to_owned(),
//!     state_key: None,
//!     content: Object::from([("msgtype", "m.text"), ("body", "Hello")]),
//!     unsigned: None,
//!     redacts: None,
//!     prev_events: vec![],
//!     auth_events: vec![],
//!     depth: 1,
//!     origin_server_ts: 1_700_000_000_000,
//! }
//! .build(RoomVersion::V11, &key, &server)?;
//!
//! let received = Pdu::parse_remote(event.json(), RoomVersion::V11)?;
//! let known = sign::KnownKey { key: key.public_key(), valid_until_ts: u64::MAX };
//! sign::verify(&received, &|_server, _key_id| Some(known))?;
//! assert!(received.content_hash_matches());
//! assert_eq!(received.event_id(), event.event_id());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod auth_types;
pub mod build;
pub mod client;
mod format;
pub mod hash;
mod parse;
pub mod redact;
pub mod relation;
pub mod sign;
pub mod sticky;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
};

use crate::{
    id::{EventId, RoomId, UserId},
    json::{Field, Object, top_level},
    rules::{RoomVersion, RoomVersionRules},
};

pub use format::{MAX_AUTH_EVENTS, MAX_FIELD, MAX_PDU, MAX_PREV_EVENTS, PduError};

/// One event of a room. Cloning is cheap: clones share the event.
#[derive(Clone)]
pub struct Pdu(Arc<Inner>);

struct Inner {
    version: RoomVersion,
    event_id: EventId,
    room_id: RoomId,
    sender: UserId,
    event_type: Box<str>,
    state_key: Option<Box<str>>,
    content: Object,
    content_span: Range<usize>,
    origin_server_ts: u64,
    depth: u64,
    /// Parsed from `json` on first use: few events in memory need them.
    prev_events: OnceLock<Box<[EventId]>>,
    auth_events: OnceLock<Box<[EventId]>>,
    redacts: Option<EventId>,
    sticky_duration_ms: Option<u64>,
    unsigned: Option<Object>,
    json: Box<str>,
}

impl Pdu {
    /// Parses an event in federation format, checks its shape and limits, and computes its id. Hashes and signatures
    /// are not checked here: see [`Pdu::content_hash_matches`] and [`sign::verify`].
    ///
    /// # Errors
    /// The part of the event format that the text does not follow.
    pub fn parse(json: &str, version: RoomVersion) -> Result<Self, PduError> {
        parse::parse(json, version)
    }

    /// Parses an event from another server: like [`Pdu::parse`], but drops `unsigned` except for the stripped state of
    /// invites and knocks.
    ///
    /// # Errors
    /// The part of the event format that the text does not follow.
    pub fn parse_remote(json: &str, version: RoomVersion) -> Result<Self, PduError> {
        parse::parse_remote(json, version)
    }

    /// Parses an event from the database. `json` must come from [`Pdu::json`]; hashes and limits are not checked again.
    ///
    /// # Errors
    /// When the text is not an event, for example because it was damaged.
    pub fn from_stored(json: &str, event_id: EventId, version: RoomVersion) -> Result<Self, PduError> {
        parse::from_stored(json, event_id, version)
    }

    /// Returns the event id: the reference hash, except in room versions 1 and 2.
    pub fn event_id(&self) -> &EventId {
        &self.0.event_id
    }

    /// Returns the room id. A create event of room version 12 or later derives it from its own hash.
    pub fn room_id(&self) -> &RoomId {
        &self.0.room_id
    }

    /// Returns the user who sent the event.
    pub fn sender(&self) -> &UserId {
        &self.0.sender
    }

    /// Returns the event `type`.
    pub fn event_type(&self) -> &str {
        &self.0.event_type
    }

    /// The state key; `None` if this is not a state event.
    pub fn state_key(&self) -> Option<&str> {
        self.0.state_key.as_deref()
    }

    /// Whether this is the state event of `event_type` and `state_key`.
    pub fn is_state(&self, event_type: &str, state_key: &str) -> bool {
        self.event_type() == event_type && self.state_key() == Some(state_key)
    }

    /// The content, parsed.
    pub fn content(&self) -> &Object {
        &self.0.content
    }

    /// Returns the content as text, a part of [`Pdu::json`].
    pub fn content_json(&self) -> &str {
        self.0.json.get(self.0.content_span.clone()).unwrap_or("{}")
    }

    /// Returns the time of sending by the sender's server, in Unix milliseconds.
    pub fn origin_server_ts(&self) -> u64 {
        self.0.origin_server_ts
    }

    /// Returns the depth: one more than the greatest depth of the previous events, as far as the sending server knew.
    pub fn depth(&self) -> u64 {
        self.0.depth
    }

    /// Returns the events that this event follows (`prev_events`).
    pub fn prev_events(&self) -> &[EventId] {
        self.0.prev_events.get_or_init(|| parse::references(self, "prev_events"))
    }

    /// Returns the events that authorize this event (`auth_events`).
    pub fn auth_events(&self) -> &[EventId] {
        self.0.auth_events.get_or_init(|| parse::references(self, "auth_events"))
    }

    /// Returns the event that this `m.room.redaction` redacts, read from where the room version has it.
    pub fn redacts(&self) -> Option<&EventId> {
        self.0.redacts.as_ref()
    }

    /// Returns for how long the event says it is sticky, in ms. See [`sticky::expires_ts`].
    pub fn sticky_duration_ms(&self) -> Option<u64> {
        self.0.sticky_duration_ms
    }

    /// The `unsigned` object, if any.
    pub fn unsigned(&self) -> Option<&Object> {
        self.0.unsigned.as_ref()
    }

    /// Returns the canonical JSON as federated and stored, including signatures and `unsigned`.
    pub fn json(&self) -> &str {
        &self.0.json
    }

    /// The version of the room.
    pub fn room_version(&self) -> RoomVersion {
        self.0.version
    }

    /// The rules of the room's version.
    pub fn rules(&self) -> &'static RoomVersionRules {
        self.0.version.rules()
    }

    /// Returns the event with other `unsigned` data, which neither the event id nor signatures cover.
    #[must_use]
    pub fn with_unsigned(&self, unsigned: Option<Object>) -> Self {
        let text = unsigned.as_ref().map(Object::to_json);
        let json = parse::replace_member(self.json(), "unsigned", text.as_deref());
        Self(Arc::new(Inner { unsigned, ..self.0.with_json(json, self.content().clone()) }))
    }

    /// Returns the JSON text of a top-level member, a part of [`Pdu::json`].
    pub fn member_json(&self, key: &str) -> Option<&str> {
        self.fields().find(|field| field.key == key).map(|field| field.value)
    }

    fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        top_level(self.json())
    }
}

impl Inner {
    /// Returns a copy with other text, whose content is `content`.
    fn with_json(&self, json: String, content: Object) -> Self {
        Self {
            version: self.version,
            event_id: self.event_id.clone(),
            room_id: self.room_id.clone(),
            sender: self.sender.clone(),
            event_type: self.event_type.clone(),
            state_key: self.state_key.clone(),
            content,
            content_span: parse::content_span(&json).unwrap_or_default(),
            origin_server_ts: self.origin_server_ts,
            depth: self.depth,
            prev_events: self.prev_events.clone(),
            auth_events: self.auth_events.clone(),
            redacts: self.redacts.clone(),
            sticky_duration_ms: self.sticky_duration_ms,
            unsigned: self.unsigned.clone(),
            json: json.into(),
        }
    }
}

impl fmt::Debug for Pdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pdu({} v{} {})", self.event_id(), self.room_version(), self.json())
    }
}

impl PartialEq for Pdu {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.event_id() == other.event_id()
                && self.room_version() == other.room_version()
                && self.json() == other.json())
    }
}

impl Eq for Pdu {}
