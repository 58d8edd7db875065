//! Requests to other servers. The room engine knows neither HTTP nor discovery: in tests, an implementation of
//! [`Peers`] without them responds.

mod error;
mod federation;
mod remote_state;

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use plexus_protocol::event::Pdu;
use plexus_protocol::event::sign::KnownKey;
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::model::direction::Direction;
use plexus_rooms::{PeerError, PolicyServers, RemoteAliases};
use serde_json::value::RawValue;

pub use error::peer_error;
pub use federation::FederationPeers;
pub use remote_state::{StateReadError, StateReader};

/// An event as another server sent it, not yet parsed.
pub type RawPdu = Box<RawValue>;

/// A future on the heap.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The response of another server.
pub type Asked<'a, T> = Waiting<'a, Result<T, PeerError>>;

/// A room's state before an event, by ids.
#[derive(Debug, Clone, Default)]
pub struct StateIds {
    /// The state.
    pub state: Vec<EventId>,
    /// The auth chain of its events.
    pub auth_chain: Vec<EventId>,
}

/// Part of a room's state as another server returns it.
#[derive(Debug)]
pub enum StatePart {
    /// The join with the signature of the server that let the user in, where one is needed (`send_join`).
    Join(RawPdu),
    /// Member events are missing from the state (`send_join`).
    MembersOmitted,
    /// The servers in the room (`send_join`).
    Servers(Vec<ServerName>),
    /// State events.
    State(Vec<RawPdu>),
    /// Events that allowed others.
    AuthChain(Vec<RawPdu>),
}

/// A room's state, read part by part: a large room is never in memory as a whole.
pub trait StateParts: Send {
    /// Returns the next part; `None` at the end.
    fn next(&mut self) -> Asked<'_, Option<StatePart>>;
}

impl StateParts for std::vec::IntoIter<StatePart> {
    fn next(&mut self) -> Asked<'_, Option<StatePart>> {
        let next = Iterator::next(self);
        Box::pin(async move { Ok(next) })
    }
}

/// The request of `get_missing_events`.
#[derive(Debug, Clone)]
pub struct MissingEvents {
    /// Events that this server has; they are not returned.
    pub earliest: Vec<EventId>,
    /// The events to start from; they are not returned.
    pub latest: Vec<EventId>,
    /// The maximum number of events.
    pub limit: u32,
    /// The minimum depth of the events.
    pub min_depth: u64,
}

/// An event to be completed and signed, as `make_join`, `make_knock` and `make_leave` return it.
#[derive(Debug)]
pub struct Template {
    /// The room's version.
    pub room_version: RoomVersion,
    /// The event without id, hashes and signatures.
    pub event: Object,
}

/// The event that is nearest to a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearEvent {
    /// Its id.
    pub event_id: EventId,
    /// Its time, Unix ms.
    pub origin_server_ts: u64,
}

/// The kind of a membership change through another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// `make_join`, `send_join`
    Join,
    /// `make_knock`, `send_knock`
    Knock,
    /// `make_leave`, `send_leave`
    Leave,
}

impl Entrance {
    /// As paths name it, and `membership`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Leave => "leave",
        }
    }
}

/// The key of a server that signed something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignedBy {
    /// The server.
    pub server: String,
    /// `ed25519:version`
    pub key_id: String,
    /// When the key must have been valid, Unix ms; 0 where that does not matter.
    pub at_ms: u64,
}

/// Other servers.
pub trait Peers: PolicyServers + RemoteAliases {
    /// `GET /event/{eventId}`
    fn event<'a>(&'a self, server: &'a ServerName, event: &'a EventId) -> Asked<'a, RawPdu>;

    /// `POST /get_missing_events/{roomId}`
    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        query: MissingEvents,
    ) -> Asked<'a, Vec<RawPdu>>;

    /// `GET /backfill/{roomId}`: the events and what came before them, `limit` at most.
    fn backfill<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        events: &'a [EventId],
        limit: u32,
    ) -> Asked<'a, Vec<RawPdu>>;

    /// `GET /state_ids/{roomId}`
    fn state_ids<'a>(&'a self, server: &'a ServerName, room: &'a RoomId, event: &'a EventId) -> Asked<'a, StateIds>;

    /// `GET /state/{roomId}`
    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> Asked<'a, Box<dyn StateParts>>;

    /// `GET /event_auth/{roomId}/{eventId}`
    fn event_auth<'a>(&'a self, server: &'a ServerName, room: &'a RoomId, event: &'a EventId)
    -> Asked<'a, Vec<RawPdu>>;

    /// `GET /make_join/{roomId}/{userId}`, or `make_knock` or `make_leave`.
    fn template<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        user: &'a UserId,
        entrance: Entrance,
    ) -> Asked<'a, Template>;

    /// `PUT /send_join/{roomId}/{eventId}`
    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        join: &'a Pdu,
        omit_members: bool,
    ) -> Asked<'a, Box<dyn StateParts>>;

    /// `PUT /send_knock/{roomId}/{eventId}`: stripped state that describes the room, each as JSON.
    fn send_knock<'a>(&'a self, server: &'a ServerName, knock: &'a Pdu) -> Asked<'a, Vec<RawPdu>>;

    /// `PUT /send_leave/{roomId}/{eventId}`
    fn send_leave<'a>(&'a self, server: &'a ServerName, leave: &'a Pdu) -> Asked<'a, ()>;

    /// `PUT /invite/{roomId}/{eventId}` with stripped state: the invite with the signature of the invited user's
    /// server.
    fn invite<'a>(&'a self, server: &'a ServerName, invite: &'a Pdu, stripped: Vec<RawPdu>) -> Asked<'a, RawPdu>;

    /// `GET /query/profile`: the name and avatar of a user of the server. It has `timeout` to answer.
    fn profile<'a>(&'a self, server: &'a ServerName, user: &'a UserId, timeout: Duration) -> Asked<'a, Object>;

    /// `GET /timestamp_to_event/{roomId}`
    fn event_near<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        ts: u64,
        direction: Direction,
    ) -> Asked<'a, NearEvent>;

    /// `PUT /exchange_third_party_invite/{roomId}`
    fn exchange_third_party_invite<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        invite: Object,
    ) -> Asked<'a, ()>;

    /// Whether an identity server still stands by a key: asks the address that an event of `named_by` names for that.
    fn identity_key_is_valid<'a>(
        &'a self,
        named_by: &'a ServerName,
        key_validity_url: &'a str,
        public_key: &'a str,
    ) -> Asked<'a, bool>;

    /// The keys that are known or can be found; others are left out. Server and key id to key.
    fn keys(&self, wanted: Vec<SignedBy>) -> Waiting<'_, HashMap<(String, String), KnownKey>>;
}
