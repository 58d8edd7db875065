//! Requests as clients sent them before MSC4186 was accepted, and as Synapse reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plexus_http::ApiError;
use plexus_protocol::id::UserId;
use plexus_sync::SlidingRequest;
use plexus_sync::sliding::{Form, List, ListFilters, RequiredState, RoomConfig, StatePattern, StateSelection};
use serde::Deserialize;

use super::{Budget, Common, ExtensionsBody, Parameters, Sender};

/// The most rooms with a subscription. Clients add rooms one by one and seldom take them away.
const MAX_SUBSCRIPTIONS: usize = 1_000;
/// The longest name of a list, in characters, as in Synapse.
const MAX_LIST_NAME_CHARS: usize = 64;
/// The most ranges of a list.
const MAX_RANGES: usize = 100;
const MEMBER: &str = "m.room.member";
/// Matches all types or state keys.
const WILDCARD: &str = "*";
/// The state key of the user who asks.
const ME: &str = "$ME";
/// The state keys of the members that the timeline is about.
const LAZY: &str = "$LAZY";

#[derive(Debug, Deserialize)]
pub(crate) struct Body {
    conn_id: Option<String>,
    lists: Option<BTreeMap<String, ListBody>>,
    room_subscriptions: Option<BTreeMap<String, RoomBody>>,
    extensions: Option<ExtensionsBody>,
}

#[derive(Debug, Deserialize)]
struct RoomBody {
    required_state: Option<Vec<(String, String)>>,
    timeline_limit: u64,
}

#[derive(Debug, Deserialize)]
struct ListBody {
    required_state: Option<Vec<(String, String)>>,
    timeline_limit: u64,
    ranges: Option<Vec<(u64, u64)>>,
    /// Whether `ranges` is ignored.
    slow_get_all_rooms: Option<bool>,
    filters: Option<FiltersBody>,
}

#[derive(Debug, Deserialize)]
struct FiltersBody {
    is_dm: Option<bool>,
    spaces: Option<Vec<String>>,
    is_encrypted: Option<bool>,
    is_invite: Option<bool>,
    room_types: Option<Vec<Option<String>>>,
    not_room_types: Option<Vec<Option<String>>>,
    room_name_like: Option<String>,
    tags: Option<Vec<String>>,
    not_tags: Option<Vec<String>>,
}

impl Body {
    pub(super) fn request(self, parameters: Parameters, sender: &Sender<'_>) -> Result<SlidingRequest, ApiError> {
        let Parameters { pos, timeout, set_presence } = parameters;
        let Self { conn_id, lists, room_subscriptions, extensions } = self;
        let common = Common { form: Form::Unstable, conn_id, pos, timeout_ms: timeout, set_presence, extensions };
        let mut request = common.request(sender)?;
        let (user, mut budget) = (&sender.requester.user_id, Budget::default());
        let lists = lists.unwrap_or_default();
        super::check_number_of_lists(&lists)?;
        let fits = |name: &String| name.chars().count() <= MAX_LIST_NAME_CHARS;
        super::require(lists.keys().all(fits), "a list's name is longer than 64 characters")?;
        for (name, list) in lists {
            request.lists.insert(name, list.list(user, &mut budget)?);
        }
        for (id, room) in super::subscriptions(room_subscriptions.unwrap_or_default(), MAX_SUBSCRIPTIONS)? {
            let config = config(&room.required_state.unwrap_or_default(), room.timeline_limit, user, &mut budget)?;
            request.subscriptions.insert(id, config);
        }
        Ok(request)
    }
}

impl ListBody {
    fn list(self, user: &UserId, budget: &mut Budget) -> Result<List, ApiError> {
        let Self { required_state, timeline_limit, ranges, slow_get_all_rooms, filters } = self;
        let config = config(&required_state.unwrap_or_default(), timeline_limit, user, budget)?;
        let ranges = ranges.filter(|_| slow_get_all_rooms != Some(true));
        super::require(ranges.as_ref().is_none_or(|ranges| ranges.len() <= MAX_RANGES), "a list has too many ranges")?;
        let ranges = ranges.map(|ranges| ranges.into_iter().map(super::range).collect()).transpose()?;
        let filters = filters.map(ListFilters::from).unwrap_or_default();
        super::check_filters(&filters)?;
        Ok(List { config, ranges, filters })
    }
}

impl From<FiltersBody> for ListFilters {
    fn from(body: FiltersBody) -> Self {
        let FiltersBody { is_dm, spaces, is_encrypted, is_invite, .. } = body;
        let FiltersBody { room_types, not_room_types, room_name_like, tags, not_tags, .. } = body;
        Self { is_dm, spaces, is_encrypted, is_invite, room_types, not_room_types, room_name_like, tags, not_tags }
    }
}

fn config(
    required_state: &[(String, String)],
    limit: u64,
    user: &UserId,
    budget: &mut Budget,
) -> Result<RoomConfig, ApiError> {
    budget.add(required_state.iter().flat_map(|(event_type, state_key)| [event_type.as_str(), state_key]))?;
    let required_state = Arc::new(required(required_state, user));
    Ok(RoomConfig { timeline_limit: super::timeline_limit(limit), required_state })
}

/// Returns the required state of pairs of type and state key. All state without its members, where these are lazily
/// loaded: `["*", "*"]` would send them all otherwise.
fn required(pairs: &[(String, String)], user: &UserId) -> RequiredState {
    let is_lazy = |(event_type, state_key): &(String, String)| event_type == MEMBER && state_key == LAZY;
    let lazy_members = pairs.iter().any(is_lazy);
    let text = |text: &str| (text != WILDCARD).then(|| text.into());
    let (mut everything, mut named) = (StateSelection::default(), StateSelection::default());
    for pair in pairs.iter().filter(|pair| !is_lazy(pair)) {
        let (event_type, state_key) = pair;
        let state_key = if state_key == ME { user.as_str() } else { state_key };
        let pattern = StatePattern { event_type: text(event_type), state_key: text(state_key) };
        let selection = if pattern == StatePattern::default() { &mut everything } else { &mut named };
        selection.include.insert(pattern);
    }
    if lazy_members {
        everything.exclude = BTreeSet::from([StatePattern { event_type: Some(MEMBER.into()), state_key: None }]);
    }
    RequiredState::new([everything, named], lazy_members)
}
