//! The room directory of this server.

pub(crate) mod get_public_rooms;
pub(crate) mod get_public_rooms_filtered;

use plexus_base::config::Config;
use plexus_http::room_errors::directory_error;
use plexus_http::{ApiError, JsonBody};
use plexus_rooms::Rooms;
use plexus_rooms::directory::{DirectoryPage, DirectoryQuery};

/// Returns a page of the directory, if other servers may see it.
async fn page(rooms: &Rooms, config: &Config, query: DirectoryQuery) -> Result<JsonBody<DirectoryPage>, ApiError> {
    if !config.server.allow_public_rooms_over_federation {
        return Err(ApiError::forbidden("The room directory is not shown to other servers"));
    }
    if !config.rooms.enable_room_list_search {
        return Ok(JsonBody(DirectoryPage::empty()));
    }
    let page = DirectoryPage::of(rooms, query).await;
    page.map(JsonBody).map_err(directory_error)
}
