//! The room directory.

pub mod get_public_rooms;
pub mod get_public_rooms_filtered;
pub mod get_room_visibility;
pub mod rules;
pub mod set_room_visibility;

use plexus_base::config::Config;
use plexus_http::{ApiError, JsonBody};
use plexus_rooms::Rooms;
use plexus_rooms::directory::{DirectoryError, DirectoryPage, DirectoryQuery};

/// A part of the directory.
async fn page(
    rooms: &Rooms,
    config: &Config,
    server: Option<&str>,
    query: DirectoryQuery,
) -> Result<JsonBody<DirectoryPage>, ApiError> {
    if server.is_some_and(|server| server != rooms.server_name().as_str()) {
        return Err(ApiError::not_found("The directories of other servers cannot be asked yet"));
    }
    if !config.rooms.enable_room_list_search {
        return Ok(JsonBody(DirectoryPage::empty()));
    }
    let page = DirectoryPage::of(rooms, query).await;
    page.map(JsonBody).map_err(|error| match error {
        DirectoryError::Since => ApiError::invalid_param(error.to_string()),
        DirectoryError::Db(error) => error.into(),
    })
}
