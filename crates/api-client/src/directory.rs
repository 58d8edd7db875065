//! The room directory.

pub(crate) mod get_public_rooms;
pub(crate) mod get_public_rooms_filtered;
pub(crate) mod get_room_visibility;
pub(crate) mod set_room_visibility;

use axum::response::{IntoResponse as _, Response};
use plexus_base::config::Config;
use plexus_http::federation::federation_error;
use plexus_http::room_errors::directory_error;
use plexus_http::{ApiError, JsonBody, RawJson};
use plexus_net::FederationClient;
use plexus_protocol::id::ServerName;
use plexus_rooms::Rooms;
use plexus_rooms::directory::{DirectoryPage, DirectoryQuery};
use plexus_service::remote_public_rooms;

/// Returns a page of the directory of this server, or of another one.
async fn page(
    rooms: &Rooms,
    config: &Config,
    client: &FederationClient,
    server: Option<&str>,
    query: DirectoryQuery,
) -> Result<Response, ApiError> {
    if let Some(server) = server.filter(|server| *server != rooms.server_name().as_str()) {
        let server = ServerName::try_from(server).map_err(|_| ApiError::invalid_param("Invalid server name"))?;
        let page = remote_public_rooms(client, &server, query).await.map_err(|error| federation_error(&error))?;
        return Ok(RawJson(page.to_json().into()).into_response());
    }
    if !config.rooms.enable_room_list_search {
        return Ok(JsonBody(DirectoryPage::empty()).into_response());
    }
    let page = DirectoryPage::of(rooms, query).await.map_err(directory_error)?;
    Ok(JsonBody(page).into_response())
}
