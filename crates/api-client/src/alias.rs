//! Room aliases.

pub(crate) mod create_alias;
pub(crate) mod delete_alias;
pub(crate) mod get_alias;

use plexus_base::AppServices;
use plexus_http::{ApiError, Requester};
use plexus_protocol::id::{RoomAlias, ServerName};

/// 400 unless the alias is one of this server.
pub(crate) fn require_local(alias: &RoomAlias, server_name: &ServerName) -> Result<(), ApiError> {
    if alias.server_name() == server_name.as_str() {
        return Ok(());
    }
    Err(ApiError::invalid_param("Room alias must be local"))
}

/// 400 `M_EXCLUSIVE` for aliases of an application service that does not make the request, and for requests of one
/// about aliases that it has not claimed.
pub(crate) fn require_alias_allowed(
    services: &AppServices,
    requester: &Requester,
    alias: &RoomAlias,
) -> Result<(), ApiError> {
    let acting = requester.acting_service.as_ref();
    if services.is_alias_reserved(alias.as_str(), acting.map(|service| service.id.as_str())) {
        return Err(exclusive("This alias is reserved by an application service."));
    }
    match acting {
        Some(service) if !service.is_interested_in_alias(alias.as_str()) => {
            Err(exclusive("This application service has not reserved this kind of alias."))
        }
        _ => Ok(()),
    }
}

fn exclusive(message: &'static str) -> ApiError {
    ApiError::bad_request("M_EXCLUSIVE", message)
}
