//! Requests in the form of the accepted MSC4186.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plexus_http::ApiError;
use plexus_sync::SlidingRequest;
use plexus_sync::sliding::{Form, List, ListFilters, RequiredState, RoomConfig, StatePattern, StateSelection};
use serde::Deserialize;

use super::{Budget, Common, ExtensionsBody, Sender};

/// The most rooms with a subscription (MSC4186).
const MAX_SUBSCRIPTIONS: usize = 100;
const MEMBER: &str = "m.room.member";

#[derive(Debug, Deserialize)]
pub(crate) struct Body {
    conn_id: Option<String>,
    pos: Option<String>,
    /// ms
    #[serde(default)]
    timeout: u64,
    set_presence: Option<String>,
    lists: Option<BTreeMap<String, ListBody>>,
    room_subscriptions: Option<BTreeMap<String, RoomBody>>,
    extensions: Option<ExtensionsBody>,
}

#[derive(Debug, Deserialize)]
struct RoomBody {
    required_state: RequiredStateBody,
    timeline_limit: u64,
}

#[derive(Debug, Deserialize)]
struct ListBody {
    required_state: RequiredStateBody,
    timeline_limit: u64,
    range: Option<(u64, u64)>,
    filters: Option<FiltersBody>,
}

#[derive(Debug, Deserialize)]
struct RequiredStateBody {
    #[serde(default)]
    include: Vec<PatternBody>,
    #[serde(default)]
    exclude: Vec<PatternBody>,
    #[serde(default)]
    lazy_members: bool,
}

#[derive(Debug, Deserialize)]
struct PatternBody {
    #[serde(rename = "type")]
    event_type: Option<String>,
    state_key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct FiltersBody {
    is_dm: Option<bool>,
    spaces: Option<Vec<String>>,
    is_encrypted: Option<bool>,
    is_invited: Option<bool>,
    room_types: Option<Vec<Option<String>>>,
    not_room_types: Option<Vec<Option<String>>>,
    tags: Option<Vec<String>>,
    not_tags: Option<Vec<String>>,
}

/// Whether this follows <https://spec.matrix.org/v1.19/appendices/#opaque-identifiers>.
fn is_opaque_identifier(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(is_allowed)
}

impl Body {
    pub(super) fn request(self, sender: &Sender<'_>) -> Result<SlidingRequest, ApiError> {
        let Self { conn_id, pos, timeout, set_presence, lists, room_subscriptions, extensions } = self;
        let common = Common { form: Form::Stable, conn_id, pos, timeout_ms: timeout, set_presence, extensions };
        let mut request = common.request(sender)?;
        let mut budget = Budget::default();
        let lists = lists.unwrap_or_default();
        super::check_number_of_lists(&lists)?;
        super::require(
            lists.keys().all(|name| is_opaque_identifier(name)),
            "a list's name is not an opaque identifier",
        )?;
        for (name, list) in lists {
            request.lists.insert(name, list.list(&mut budget)?);
        }
        for (id, room) in super::subscriptions(room_subscriptions.unwrap_or_default(), MAX_SUBSCRIPTIONS)? {
            request.subscriptions.insert(id, config(room.required_state, room.timeline_limit, &mut budget)?);
        }
        Ok(request)
    }
}

impl ListBody {
    fn list(self, budget: &mut Budget) -> Result<List, ApiError> {
        let Self { required_state, timeline_limit, range, filters } = self;
        let config = config(required_state, timeline_limit, budget)?;
        let ranges = range.map(super::range).transpose()?.map(|range| vec![range]);
        let filters = filters.map(ListFilters::from).unwrap_or_default();
        super::check_filters(&filters)?;
        Ok(List { config, ranges, filters })
    }
}

impl From<FiltersBody> for ListFilters {
    fn from(body: FiltersBody) -> Self {
        let FiltersBody { is_dm, spaces, is_encrypted, is_invited, room_types, not_room_types, tags, not_tags } = body;
        let is_invite = is_invited;
        let room_name_like = None;
        Self { is_dm, spaces, is_encrypted, is_invite, room_types, not_room_types, room_name_like, tags, not_tags }
    }
}

fn config(required_state: RequiredStateBody, limit: u64, budget: &mut Budget) -> Result<RoomConfig, ApiError> {
    let RequiredStateBody { include, exclude, lazy_members } = required_state;
    // A pattern costs something even if it names nothing.
    let texts = |pattern: &'_ PatternBody| {
        [pattern.event_type.clone().unwrap_or_default(), pattern.state_key.clone().unwrap_or_default()]
    };
    let all: Vec<String> = include.iter().chain(&exclude).flat_map(texts).collect();
    budget.add(all.iter().map(String::as_str))?;
    let patterns = |bodies: Vec<PatternBody>| -> BTreeSet<StatePattern> {
        let pattern = |body: PatternBody| StatePattern {
            event_type: body.event_type.map(Into::into),
            state_key: body.state_key.map(Into::into),
        };
        bodies.into_iter().map(pattern).collect()
    };
    let mut named = StateSelection { include: patterns(include), exclude: patterns(exclude) };
    let mut everything = StateSelection::default();
    // All state without its members, where these are lazily loaded.
    if lazy_members && named.include.remove(&StatePattern::default()) {
        everything = StateSelection { include: [StatePattern::default()].into(), exclude: named.exclude.clone() };
        everything.exclude.insert(StatePattern { event_type: Some(MEMBER.into()), state_key: None });
    }
    let required_state = Arc::new(RequiredState::new([everything, named], lazy_members));
    Ok(RoomConfig { timeline_limit: super::timeline_limit(limit), required_state })
}
