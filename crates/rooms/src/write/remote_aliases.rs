//! Aliases of rooms on other servers.

use futures_util::future::BoxFuture;
use plexus_protocol::id::{RoomAlias, RoomId, ServerName};

use crate::write::peer_error::PeerError;

/// The directories of other servers.
pub trait RemoteAliases: Send + Sync {
    /// Returns the room that an alias of `server` points to (`GET /query/directory`).
    fn room_of_alias<'a>(
        &'a self,
        server: &'a ServerName,
        alias: &'a RoomAlias,
    ) -> BoxFuture<'a, Result<RoomId, PeerError>>;
}
