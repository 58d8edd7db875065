//! Requests to other servers that writing depends on.

use futures_util::future::BoxFuture;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomAlias, RoomId, ServerName};
use plexus_protocol::json::Object;

use crate::write::peer_error::PeerError;

/// The policy servers of rooms (<https://spec.matrix.org/v1.19/server-server-api/#policy-servers>).
pub trait PolicyServers: Send + Sync {
    /// Returns the signatures by which `server` recommends an event (`POST /_matrix/policy/v1/sign`), by server and key
    /// id.
    fn policy_signature<'a>(&'a self, server: &'a ServerName, pdu: &'a Pdu)
    -> BoxFuture<'a, Result<Object, PeerError>>;
}

/// The room aliases of other servers.
pub trait RemoteAliases: Send + Sync {
    /// Returns the room that an alias of `server` points to (`GET /query/directory`).
    fn room_of_alias<'a>(
        &'a self,
        server: &'a ServerName,
        alias: &'a RoomAlias,
    ) -> BoxFuture<'a, Result<RoomId, PeerError>>;
}
