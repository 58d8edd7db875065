//! Filters: the changes that a client wants (client-server API, Filtering).

mod glob;
mod stored;

use serde::Deserialize;
use serde::de::Error as _;

pub use glob::matches as glob_matches;
pub use stored::{FilterError, Filters};

/// The most `*` in the types of a filter: every event is compared with all of them.
const MAX_WILDCARDS: usize = 200;

/// A filter as clients define it. Unknown members are ignored, as the specification asks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are named as in the specification")]
pub struct Filter {
    /// Dotted paths of the event members to keep; `None` keeps all.
    pub event_fields: Option<Vec<String>>,
    pub event_format: EventFormat,
    pub presence: EventFilter,
    pub account_data: EventFilter,
    pub room: RoomFilter,
    #[serde(rename = "org.matrix.msc4429.profile_fields")]
    pub profile_fields: ProfileFieldsFilter,
}

/// The fields of profiles that a client follows (MSC4429).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are named as in the proposal")]
pub struct ProfileFieldsFilter {
    pub ids: Vec<String>,
}

/// How events are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventFormat {
    /// As clients read them.
    #[default]
    Client,
    /// As servers send them to each other.
    Federation,
}

/// The part of a filter about rooms.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are named as in the specification")]
pub struct RoomFilter {
    pub rooms: Option<Vec<String>>,
    pub not_rooms: Vec<String>,
    pub include_leave: bool,
    pub ephemeral: RoomEventFilter,
    pub state: RoomEventFilter,
    pub timeline: RoomEventFilter,
    pub account_data: RoomEventFilter,
}

/// A filter over events that are not in rooms.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are named as in the specification")]
pub struct EventFilter {
    pub limit: Option<u64>,
    pub senders: Option<Vec<String>>,
    pub not_senders: Vec<String>,
    pub types: Option<Vec<String>>,
    pub not_types: Vec<String>,
}

/// A filter over events in rooms.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are named as in the specification")]
pub struct RoomEventFilter {
    #[serde(flatten)]
    pub event: EventFilter,
    pub rooms: Option<Vec<String>>,
    pub not_rooms: Vec<String>,
    pub contains_url: Option<bool>,
    pub lazy_load_members: bool,
    pub include_redundant_members: bool,
    #[serde(alias = "org.matrix.msc3773.unread_thread_notifications")]
    pub unread_thread_notifications: bool,
}

impl EventFilter {
    /// Whether an event of this type from this sender passes. Senders are compared exactly, types may hold `*`.
    pub fn allows(&self, event_type: &str, sender: &str) -> bool {
        self.allows_type(event_type) && self.allows_sender(sender)
    }

    /// Whether an event of this type passes.
    pub fn allows_type(&self, event_type: &str) -> bool {
        let matches = |pattern: &String| glob::matches(pattern, event_type);
        self.types.as_ref().is_none_or(|types| types.iter().any(matches)) && !self.not_types.iter().any(matches)
    }

    /// Whether an event from this sender passes.
    pub fn allows_sender(&self, sender: &str) -> bool {
        listed(self.senders.as_ref(), &self.not_senders, sender)
    }

    fn wildcards(&self) -> usize {
        self.types.iter().flatten().chain(&self.not_types).map(|pattern| pattern.matches('*').count()).sum()
    }
}

/// Refuses more than [`MAX_WILDCARDS`].
fn check_wildcards(wildcards: usize) -> Result<(), serde_json::Error> {
    if wildcards > MAX_WILDCARDS {
        Err(serde_json::Error::custom(format!("a filter has at most {MAX_WILDCARDS} `*` in its types")))
    } else {
        Ok(())
    }
}

impl RoomEventFilter {
    /// Parses the JSON of a filter for one endpoint. The error is serde's, for the client to read.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let filter: Self = serde_json::from_str(json)?;
        check_wildcards(filter.event.wildcards())?;
        Ok(filter)
    }

    /// Whether events of this room pass at all.
    pub fn allows_room(&self, room_id: &str) -> bool {
        listed(self.rooms.as_ref(), &self.not_rooms, room_id)
    }

    /// Whether an event with this type, sender and `content.url` (present or not) passes.
    pub fn allows(&self, event_type: &str, sender: &str, has_url: impl FnOnce() -> bool) -> bool {
        self.event.allows(event_type, sender) && self.contains_url.is_none_or(|wanted| wanted == has_url())
    }
}

impl RoomFilter {
    /// Whether the room is to be shown at all.
    pub fn allows_room(&self, room_id: &str) -> bool {
        listed(self.rooms.as_ref(), &self.not_rooms, room_id)
    }
}

impl Filter {
    /// Parses a filter's JSON. The error is serde's, for the client to read.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        // serde would read a struct from an array too.
        if !json.trim_ascii_start().starts_with('{') {
            return Err(serde_json::Error::custom("a filter is a JSON object"));
        }
        let filter: Self = serde_json::from_str(json)?;
        let RoomFilter { ephemeral, state, timeline, account_data, .. } = &filter.room;
        let of_rooms = [ephemeral, state, timeline, account_data].map(|filter| &filter.event);
        let filters = [&filter.presence, &filter.account_data].into_iter().chain(of_rooms);
        check_wildcards(filters.map(EventFilter::wildcards).sum())?;
        Ok(filter)
    }

    /// Whether state is to leave out the members that no event in the timeline needs.
    pub fn lazy_load_members(&self) -> bool {
        self.room.state.lazy_load_members
    }
}

/// Whether a value is in the list of wanted ones (absent: all are), and not in that of unwanted ones, which takes
/// precedence.
fn listed(wanted: Option<&Vec<String>>, unwanted: &[String], value: &str) -> bool {
    wanted.is_none_or(|wanted| wanted.iter().any(|one| one == value)) && !unwanted.iter().any(|one| one == value)
}

#[cfg(test)]
mod tests;
