//! What the room engine asks of other servers. The engine knows neither HTTP nor discovery: tests and simulations answer in
//! their stead.

mod federation;

use std::collections::HashMap;
use std::pin::Pin;

use plexus_net::federation::FederationError;
use plexus_protocol::event::sign::KnownKey;
use plexus_protocol::id::{EventId, RoomId, ServerName};
use serde_json::value::RawValue;

pub use federation::FederationPeers;

/// An event as another server sent it, not yet parsed.
pub type RawPdu = Box<RawValue>;

/// What is waited for.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What another server answers.
pub type Asked<'a, T> = Waiting<'a, Result<T, FederationError>>;

/// A room's state before an event, by ids.
#[derive(Debug, Clone, Default)]
pub struct StateIds {
    /// The state.
    pub state: Vec<EventId>,
    /// What allowed it.
    pub auth_chain: Vec<EventId>,
}

/// A room's state before an event.
#[derive(Debug, Default)]
pub struct StateEvents {
    /// The state.
    pub state: Vec<RawPdu>,
    /// What allowed it.
    pub auth_chain: Vec<RawPdu>,
}

/// What is asked of `get_missing_events`.
#[derive(Debug, Clone)]
pub struct MissingEvents {
    /// What this server has; not answered.
    pub earliest: Vec<EventId>,
    /// The events whose predecessors are sought; not answered.
    pub latest: Vec<EventId>,
    /// How many events at most.
    pub limit: u32,
    /// Events below this depth are not sought.
    pub min_depth: u64,
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
pub trait Peers: Send + Sync {
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
    fn state<'a>(&'a self, server: &'a ServerName, room: &'a RoomId, event: &'a EventId) -> Asked<'a, StateEvents>;

    /// `GET /event_auth/{roomId}/{eventId}`
    fn event_auth<'a>(&'a self, server: &'a ServerName, room: &'a RoomId, event: &'a EventId)
    -> Asked<'a, Vec<RawPdu>>;

    /// The keys that are known or can be found; others are left out. Server and key id to key.
    fn keys<'a>(&'a self, wanted: Vec<SignedBy>) -> Waiting<'a, HashMap<(String, String), KnownKey>>;
}
