//! Room aliases.

pub(crate) mod create_alias;
pub(crate) mod delete_alias;
pub(crate) mod get_alias;

use plexus_http::ApiError;
use plexus_protocol::id::{RoomAlias, ServerName};

/// 400 unless the alias is one of this server.
pub(crate) fn require_local(alias: &RoomAlias, server_name: &ServerName) -> Result<(), ApiError> {
    if alias.server_name() == server_name.as_str() {
        return Ok(());
    }
    Err(ApiError::invalid_param("Room alias must be local"))
}
