//! Room aliases.

pub mod create_alias;
pub mod delete_alias;
pub mod get_alias;

use std::sync::Arc;

use plexus_http::ApiError;
use plexus_http::federation::federation_error;
use plexus_net::{Call, FederationClient};
use plexus_protocol::id::{RoomAlias, RoomId, ServerName};
use plexus_rooms::Rooms;
use plexus_rooms::directory::servers_in;
use plexus_store::repo;
use serde::{Deserialize, Serialize};

use crate::remote::percent_encoded;

/// 400 unless the alias is one of this server.
pub(crate) fn require_local(alias: &RoomAlias, server_name: &ServerName) -> Result<(), ApiError> {
    if alias.server_name() == server_name.as_str() {
        return Ok(());
    }
    Err(ApiError::invalid_param("Room alias must be local"))
}

/// The most of another server's answer about an alias that is read, in bytes.
const MAX_REMOTE_ANSWER: usize = 1024 * 1024;

/// The room that an alias points to, and servers through which it can be joined.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Resolved {
    pub(crate) room_id: RoomId,
    pub(crate) servers: Vec<ServerName>,
}

/// Finds rooms by the names that people give them, here and on other servers.
pub struct RoomNames {
    pub(crate) rooms: Arc<Rooms>,
    others: Arc<FederationClient>,
}

impl RoomNames {
    /// Names of `rooms`, and those that `others` reaches.
    pub fn new(rooms: Arc<Rooms>, others: Arc<FederationClient>) -> Self {
        Self { rooms, others }
    }

    /// The room that a path names by id or by alias, with servers that may be in it: those of the request, else those the
    /// alias came with.
    pub(crate) async fn named(&self, id_or_alias: &str, via: Vec<ServerName>) -> Result<Resolved, ApiError> {
        if let Ok(room_id) = RoomId::try_from(id_or_alias) {
            return Ok(Resolved { room_id, servers: via });
        }
        let alias = RoomAlias::try_from(id_or_alias)
            .map_err(|error| ApiError::invalid_param(format!("{id_or_alias}: {error}")))?;
        let resolved = self.resolve(&alias).await?;
        Ok(if via.is_empty() { resolved } else { Resolved { servers: via, ..resolved } })
    }

    /// Resolves an alias of this server, or has another one resolve its own.
    pub(crate) async fn resolve(&self, alias: &RoomAlias) -> Result<Resolved, ApiError> {
        let rooms = &self.rooms;
        let own = rooms.server_name();
        if alias.server_name() != own.as_str() {
            return resolve_remote(&self.others, alias).await;
        }
        let not_found = || ApiError::not_found(format!("Room alias {alias} not found."));
        let text = alias.as_str().to_owned();
        let found = rooms.database().read(move |tx| repo::aliases::get(tx, &text)).await?.ok_or_else(not_found)?;
        let room = rooms.get_nid(found.room_nid).await?.ok_or_else(not_found)?;
        Ok(Resolved { room_id: room.id.clone(), servers: servers_in(&room, own) })
    }
}

async fn resolve_remote(others: &FederationClient, alias: &RoomAlias) -> Result<Resolved, ApiError> {
    let server = ServerName::try_from(alias.server_name()).map_err(|_| ApiError::not_found("No such room alias"))?;
    let path = format!("/_matrix/federation/v1/query/directory?room_alias={}", percent_encoded(alias.as_str()));
    let call = Call::get(path).max_answer_bytes(MAX_REMOTE_ANSWER);
    others.call_json(&server, call).await.map_err(|error| federation_error(&error))
}
