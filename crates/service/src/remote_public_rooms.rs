//! The room directories of other servers.

use plexus_net::federation::api::directory::{get_public_rooms, get_public_rooms_filtered};
use plexus_net::{FederationClient, FederationError};
use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;
use plexus_rooms::directory::DirectoryQuery;

/// Returns a page of the server's room directory.
///
/// # Errors
/// When the server does not return one.
pub async fn remote_public_rooms(
    client: &FederationClient,
    server: &ServerName,
    query: DirectoryQuery,
) -> Result<Object, FederationError> {
    let DirectoryQuery { limit, since, filter, .. } = query;
    if filter.generic_search_term.is_none() && filter.room_types.is_none() {
        return get_public_rooms::call(client, server, limit, since.as_deref()).await;
    }
    let request = get_public_rooms_filtered::Request { filter, limit, since };
    get_public_rooms_filtered::call(client, server, &request).await
}
