//! POST /_matrix/client/v4/sync and POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync

mod stable;
mod unstable;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::LongPoll;
use plexus_http::{ApiError, Json, LongPolling, Query, RawJson, Requester, Session, State};
use plexus_protocol::id::RoomId;
use plexus_service::LocalEchoOrder;
use plexus_sync::sliding::{
    ExtensionRooms, Extensions, Form, ListFilters, Pos, ProfilesExtension, StickyExtension, ToDeviceExtension,
};
use plexus_sync::thread_subscriptions::DEFAULT_CHANGES;
use plexus_sync::{PresenceState, SlidingRequest, SlidingSync, SlidingSyncError};
use serde::Deserialize;

/// The longest a request may wait, whatever the client asks for.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
/// The most lists in a request (MSC4186).
const MAX_LISTS: usize = 100;
/// The longest id of a connection, in bytes: every response is stored with it.
const MAX_CONN_ID_BYTES: usize = 255;
/// The most types and state keys that a request names for one list or room.
const MAX_REQUIRED_STATE: usize = 500;
/// The longest event type or state key, in bytes
/// (<https://spec.matrix.org/v1.19/client-server-api/#size-limits>).
const MAX_STATE_KEY_BYTES: usize = 255;
/// The most types and state keys of all lists and rooms of a request together: each is compared with every state event.
const MAX_REQUIRED_STATE_OF_REQUEST: usize = 5_000;
/// The most timeline events of a room in one response, as in Synapse. A client that asks for more gets these.
const MAX_TIMELINE_LIMIT: u64 = 1_000;
/// The most entries in one filter of a list, and in the lists and rooms of an extension.
const MAX_ENTRIES: usize = 1_000;
/// The most fields of profiles that a client names; every response that changes something stores them.
const MAX_PROFILE_FIELDS: usize = 50;
/// The longest name of a field, in bytes (client-server API, "Profiles").
const MAX_PROFILE_FIELD_BYTES: usize = 255;
/// The most messages to the device in one response, as in Synapse.
const MAX_TO_DEVICE: u64 = 100;

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    pos: Option<String>,
    /// ms
    #[serde(default)]
    timeout: u64,
    set_presence: Option<String>,
}

/// Serves the form of the accepted proposal.
pub(crate) async fn handle(
    session: Session,
    State(sync): State<Arc<SlidingSync>>,
    State(echo_order): State<Arc<LocalEchoOrder>>,
    LongPolling(long_poll): LongPolling,
    Json(body): Json<stable::Body>,
) -> Result<RawJson, ApiError> {
    let request = body.request(&Sender { requester: &session.requester, long_poll })?;
    respond(&sync, &echo_order, &session, request).await
}

/// Serves the form that clients used before the proposal was accepted.
pub(crate) async fn handle_unstable(
    session: Session,
    State(sync): State<Arc<SlidingSync>>,
    State(echo_order): State<Arc<LocalEchoOrder>>,
    LongPolling(long_poll): LongPolling,
    Query(parameters): Query<Parameters>,
    Json(body): Json<unstable::Body>,
) -> Result<RawJson, ApiError> {
    let request = body.request(parameters, &Sender { requester: &session.requester, long_poll })?;
    respond(&sync, &echo_order, &session, request).await
}

async fn respond(
    sync: &SlidingSync,
    echo_order: &LocalEchoOrder,
    session: &Session,
    request: SlidingRequest,
) -> Result<RawJson, ApiError> {
    let answer = sync.sync(request).await;
    echo_order.responses_sent(&session.requester).await;
    session.require_open().await?;
    match answer {
        Ok(body) => Ok(RawJson(body.into())),
        Err(SlidingSyncError::UnknownPos) => Err(ApiError::bad_request("M_UNKNOWN_POS", "Unknown position")),
        Err(SlidingSyncError::TooMuchRequiredState) => {
            Err(ApiError::invalid_param("the required_state of all rooms together is too large"))
        }
        Err(SlidingSyncError::Database(error)) => Err(error.into()),
    }
}

/// Who sends a request, and how it waits.
struct Sender<'s> {
    requester: &'s Requester,
    long_poll: LongPoll,
}

/// What both forms of a request have.
struct Common {
    form: Form,
    conn_id: Option<String>,
    pos: Option<String>,
    timeout_ms: u64,
    set_presence: Option<String>,
    extensions: Option<ExtensionsBody>,
}

impl Common {
    fn request(self, sender: &Sender<'_>) -> Result<SlidingRequest, ApiError> {
        let conn_id = self.conn_id.unwrap_or_default();
        require(conn_id.len() <= MAX_CONN_ID_BYTES, "conn_id is longer than 255 bytes")?;
        let set_presence = match self.set_presence.as_deref() {
            Some(text) => PresenceState::parse(text)
                .ok_or_else(|| ApiError::invalid_param("set_presence must be one of online, unavailable, offline"))?,
            None => PresenceState::Online,
        };
        // A position of another server, or of Synapse before a move: the client begins again.
        let parse =
            |pos: String| pos.parse::<Pos>().map_err(|_| ApiError::bad_request("M_UNKNOWN_POS", "Unknown position"));
        Ok(SlidingRequest {
            form: self.form,
            user: sender.requester.user_id.clone(),
            device: sender.requester.device_id.clone(),
            conn_id,
            pos: self.pos.map(parse).transpose()?,
            lists: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            extensions: self.extensions.unwrap_or_default().extensions()?,
            timeout: Duration::from_millis(self.timeout_ms).min(MAX_TIMEOUT),
            set_presence,
            long_poll: sender.long_poll.clone(),
        })
    }
}

#[derive(Debug, Default, Deserialize)]
struct ExtensionsBody {
    to_device: Option<ToDeviceBody>,
    e2ee: Option<EnabledBody>,
    account_data: Option<RoomsBody>,
    receipts: Option<RoomsBody>,
    typing: Option<RoomsBody>,
    /// MSC4480, under the name of MSC4354.
    #[serde(rename = "org.matrix.msc4354.sticky_events")]
    sticky_events: Option<StickyBody>,
    #[serde(rename = "org.matrix.msc4262.profiles")]
    profiles: Option<ProfilesBody>,
    #[serde(rename = "io.element.msc4308.thread_subscriptions")]
    thread_subscriptions: Option<LimitedBody>,
}

#[derive(Debug, Deserialize)]
struct ProfilesBody {
    enabled: Option<bool>,
    lists: Option<Vec<String>>,
    rooms: Option<Vec<String>>,
    fields: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct LimitedBody {
    enabled: Option<bool>,
    limit: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct EnabledBody {
    enabled: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct ToDeviceBody {
    enabled: Option<bool>,
    limit: Option<u64>,
    since: Option<String>,
}

#[derive(Debug, Deserialize)]
struct StickyBody {
    enabled: Option<bool>,
    limit: Option<u64>,
    since: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RoomsBody {
    enabled: Option<bool>,
    lists: Option<Vec<String>>,
    rooms: Option<Vec<String>>,
}

impl ExtensionsBody {
    fn extensions(self) -> Result<Extensions, ApiError> {
        let rooms = |body: Option<RoomsBody>| body.map_or(Ok(None), RoomsBody::extension);
        Ok(Extensions {
            to_device: self.to_device.map_or(Ok(None), ToDeviceBody::extension)?,
            e2ee: self.e2ee.is_some_and(|e2ee| e2ee.enabled == Some(true)),
            account_data: rooms(self.account_data)?,
            receipts: rooms(self.receipts)?,
            typing: rooms(self.typing)?,
            sticky_events: self.sticky_events.map_or(Ok(None), StickyBody::extension)?,
            profiles: self.profiles.map_or(Ok(None), ProfilesBody::extension)?,
            thread_subscriptions: self
                .thread_subscriptions
                .filter(|body| body.enabled == Some(true))
                .map(|body| body.limit.unwrap_or(DEFAULT_CHANGES)),
        })
    }
}

impl ToDeviceBody {
    fn extension(self) -> Result<Option<ToDeviceExtension>, ApiError> {
        let since = self.since.map(|since| extension_token("to_device", &since)).transpose()?;
        let limit = self.limit.unwrap_or(MAX_TO_DEVICE).min(MAX_TO_DEVICE);
        Ok((self.enabled == Some(true)).then_some(ToDeviceExtension { limit, since }))
    }
}

impl StickyBody {
    fn extension(self) -> Result<Option<StickyExtension>, ApiError> {
        let since = self.since.map(|since| extension_token("sticky_events", &since)).transpose()?;
        require(self.limit != Some(0), "extensions.sticky_events.limit must be positive")?;
        let limit = self.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        Ok((self.enabled == Some(true)).then_some(StickyExtension { limit, since }))
    }
}

/// Parses the position up to which a client has what an extension sends.
fn extension_token(extension: &str, since: &str) -> Result<i64, ApiError> {
    let position = since.parse::<i64>().ok().filter(|position| *position >= 0);
    position.ok_or_else(|| ApiError::invalid_param(format!("extensions.{extension}.since: not a token of this server")))
}

impl ProfilesBody {
    fn extension(self) -> Result<Option<ProfilesExtension>, ApiError> {
        let Self { enabled, lists, rooms, fields } = self;
        let fits = |names: &Vec<String>| {
            names.len() <= MAX_PROFILE_FIELDS && names.iter().all(|name| name.len() <= MAX_PROFILE_FIELD_BYTES)
        };
        require(fields.as_ref().is_none_or(fits), "extensions: too many or too long names of profile fields")?;
        let rooms = RoomsBody { enabled, lists, rooms }.extension()?;
        Ok(rooms.map(|rooms| ProfilesExtension { rooms, fields }))
    }
}

impl RoomsBody {
    fn extension(self) -> Result<Option<ExtensionRooms>, ApiError> {
        let all_or_named = |names: Option<Vec<String>>| match names {
            Some(names) if names.iter().any(|name| name == "*") => Ok(None),
            Some(names) => {
                require(names.len() <= MAX_ENTRIES, "an extension names too many lists or rooms").map(|()| Some(names))
            }
            None => Ok(None),
        };
        let rooms = ExtensionRooms { lists: all_or_named(self.lists)?, rooms: all_or_named(self.rooms)? };
        Ok((self.enabled == Some(true)).then_some(rooms))
    }
}

/// Counts what a request asks for, and refuses too much.
#[derive(Default)]
struct Budget {
    required_state: usize,
}

impl Budget {
    /// Adds the patterns of one list or room.
    fn add<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> Result<(), ApiError> {
        let mut count = 0;
        for text in texts {
            require(text.len() <= MAX_STATE_KEY_BYTES, "required_state: a type or state key is longer than 255 bytes")?;
            count += 1;
        }
        // A type and a state key.
        require(count <= 2 * MAX_REQUIRED_STATE, "required_state has too many entries")?;
        self.required_state += count;
        require(self.required_state <= 2 * MAX_REQUIRED_STATE_OF_REQUEST, "required_state has too many entries in all")
    }
}

fn require(condition: bool, message: &'static str) -> Result<(), ApiError> {
    if condition { Ok(()) } else { Err(ApiError::invalid_param(message)) }
}

fn check_number_of_lists<L>(lists: &BTreeMap<String, L>) -> Result<(), ApiError> {
    require(lists.len() <= MAX_LISTS, "there are more than 100 lists")
}

/// Returns a range of a list: its first and last index.
fn range((first, last): (u64, u64)) -> Result<(usize, usize), ApiError> {
    require(first <= last, "a range ends before it begins")?;
    let index = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
    Ok((index(first), index(last)))
}

fn timeline_limit(limit: u64) -> u32 {
    u32::try_from(limit.min(MAX_TIMELINE_LIMIT)).unwrap_or(u32::MAX)
}

/// Refuses filters with too many entries.
fn check_filters(filters: &ListFilters) -> Result<(), ApiError> {
    let ListFilters { spaces, room_types, not_room_types, tags, not_tags, room_name_like, .. } = filters;
    let names = [spaces, tags, not_tags].map(|names| names.as_ref().map_or(0, Vec::len));
    let types = [room_types, not_room_types].map(|types| types.as_ref().map_or(0, Vec::len));
    require(names.into_iter().chain(types).all(|count| count <= MAX_ENTRIES), "a filter has too many entries")?;
    let part = room_name_like.as_deref().unwrap_or_default();
    require(part.len() <= MAX_STATE_KEY_BYTES, "room_name_like is longer than 255 bytes")
}

/// Returns the rooms with a subscription. Ids that no room can have are ignored, as unknown rooms are.
fn subscriptions<T>(bodies: BTreeMap<String, T>, most: usize) -> Result<Vec<(RoomId, T)>, ApiError> {
    require(bodies.len() <= most, "there are too many room_subscriptions")?;
    Ok(bodies.into_iter().filter_map(|(id, body)| Some((RoomId::try_from(id).ok()?, body))).collect())
}
