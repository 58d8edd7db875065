//! Requests to other servers. [`FederationPeers`] sends them over the network; in tests another implementation of
//! [`Peers`] responds.

mod error;
mod federation;
mod remote_state;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_net::federation::WantedKey;
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

/// A future of the response of another server.
pub type PeerResponse<'a, T> = BoxFuture<'a, Result<T, PeerError>>;

/// The ids of a room's state before an event, and of its auth chain (`GET /state_ids`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateIds {
    /// The state events.
    pub state: Vec<EventId>,
    /// The events of their auth chains.
    pub auth_chain: Vec<EventId>,
}

/// Part of a room's state as another server returns it.
#[derive(Debug)]
pub enum StatePart {
    /// The join; a restricted join has the signature of the authorizing user's server (`send_join`).
    Join(RawPdu),
    /// Member events are missing from the state (`send_join`).
    MembersOmitted,
    /// The servers in the room (`send_join`).
    Servers(Vec<ServerName>),
    /// State events.
    State(Vec<RawPdu>),
    /// Events of the auth chain.
    AuthChain(Vec<RawPdu>),
}

/// A room's state, read part by part, so that the state of a large room is never in memory as a whole.
pub trait StateParts: Send {
    /// Returns the next part; `None` at the end.
    fn next(&mut self) -> PeerResponse<'_, Option<StatePart>>;
}

impl StateParts for std::vec::IntoIter<StatePart> {
    fn next(&mut self) -> PeerResponse<'_, Option<StatePart>> {
        let next = Iterator::next(self);
        Box::pin(async move { Ok(next) })
    }
}

/// A `get_missing_events` request.
#[derive(Debug, Clone)]
pub struct MissingEventsRequest {
    /// Events that the requesting server has. These, and events that only these lead to, are not returned.
    pub earliest: Vec<EventId>,
    /// The events to start from, whose prev events the requesting server lacks. They are not returned.
    pub latest: Vec<EventId>,
    /// The maximum number of events.
    pub limit: u32,
    /// The minimum depth of the events.
    pub min_depth: u64,
}

/// An event to be completed and signed, as `make_join`, `make_knock` and `make_leave` return it.
#[derive(Debug)]
pub struct EventTemplate {
    /// The room's version.
    pub room_version: RoomVersion,
    /// The event without id, hashes and signatures.
    pub event: Object,
}

/// The event that is nearest to a time (`GET /timestamp_to_event`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearestEvent {
    /// The event's id.
    pub event_id: EventId,
    /// The event's time, in Unix ms.
    pub origin_server_ts: u64,
}

/// How a membership is changed through another server: by a pair of requests, the first of which returns a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// `make_join`, `send_join`
    Join,
    /// `make_knock`, `send_knock`
    Knock,
    /// `make_leave`, `send_leave`
    Leave,
}

impl Handshake {
    /// Returns the resulting `membership`, which is also part of the requests' names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Leave => "leave",
        }
    }
}

/// Requests to other servers.
pub trait Peers: PolicyServers + RemoteAliases {
    /// `GET /event/{eventId}`
    fn event<'a>(&'a self, server: &'a ServerName, event: &'a EventId) -> PeerResponse<'a, RawPdu>;

    /// `POST /get_missing_events/{roomId}`
    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        query: MissingEventsRequest,
    ) -> PeerResponse<'a, Vec<RawPdu>>;

    /// `GET /backfill/{roomId}`: `events` and events before them, at most `limit`.
    fn backfill<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        events: &'a [EventId],
        limit: u32,
    ) -> PeerResponse<'a, Vec<RawPdu>>;

    /// `GET /state_ids/{roomId}`
    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> PeerResponse<'a, StateIds>;

    /// `GET /state/{roomId}`
    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> PeerResponse<'a, Box<dyn StateParts>>;

    /// `GET /event_auth/{roomId}/{eventId}`
    fn event_auth<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> PeerResponse<'a, Vec<RawPdu>>;

    /// `GET /make_join/{roomId}/{userId}`, `make_knock` or `make_leave`.
    fn template<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        user: &'a UserId,
        handshake: Handshake,
    ) -> PeerResponse<'a, EventTemplate>;

    /// `PUT /send_join/{roomId}/{eventId}`
    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        join: &'a Pdu,
        omit_members: bool,
    ) -> PeerResponse<'a, Box<dyn StateParts>>;

    /// `PUT /send_knock/{roomId}/{eventId}`. Returns the room's stripped state.
    fn send_knock<'a>(&'a self, server: &'a ServerName, knock: &'a Pdu) -> PeerResponse<'a, Vec<RawPdu>>;

    /// `PUT /send_leave/{roomId}/{eventId}`
    fn send_leave<'a>(&'a self, server: &'a ServerName, leave: &'a Pdu) -> PeerResponse<'a, ()>;

    /// `PUT /invite/{roomId}/{eventId}` with the room's stripped state. Returns the invite with the signature of the
    /// invited user's server.
    fn invite<'a>(&'a self, server: &'a ServerName, invite: &'a Pdu, stripped: Vec<RawPdu>)
    -> PeerResponse<'a, RawPdu>;

    /// `GET /query/profile`: the profile of a user of the server, which has `timeout` to respond.
    fn profile<'a>(&'a self, server: &'a ServerName, user: &'a UserId, timeout: Duration) -> PeerResponse<'a, Object>;

    /// `GET /timestamp_to_event/{roomId}`
    fn timestamp_to_event<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        ts: u64,
        direction: Direction,
    ) -> PeerResponse<'a, NearestEvent>;

    /// `GET /rooms/{roomId}/complexity`, which only Synapse and this server serve.
    fn room_complexity<'a>(&'a self, server: &'a ServerName, room: &'a RoomId) -> PeerResponse<'a, f64>;

    /// `PUT /exchange_third_party_invite/{roomId}`
    fn exchange_third_party_invite<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        invite: Object,
    ) -> PeerResponse<'a, ()>;

    /// Whether an identity server says that a key is still valid. `key_validity_url` is from an event of a user of
    /// `named_by`.
    fn identity_key_is_valid<'a>(
        &'a self,
        named_by: &'a ServerName,
        key_validity_url: &'a str,
        public_key: &'a str,
    ) -> PeerResponse<'a, bool>;

    /// Returns the keys that are known or can be fetched, by server and key id; other keys are left out.
    fn keys(&self, wanted: Vec<WantedKey>) -> BoxFuture<'_, HashMap<(String, String), KnownKey>>;
}
