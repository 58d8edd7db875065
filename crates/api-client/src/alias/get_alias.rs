//! GET /_matrix/client/v3/directory/room/{roomAlias}

use std::sync::Arc;

use plexus_http::{ApiError, JsonBody, Path, State};
use plexus_net::FederationClient;
use plexus_protocol::id::RoomAlias;
use plexus_rooms::Rooms;

use super::{Resolved, resolve};

pub async fn handle(
    State(rooms): State<Arc<Rooms>>,
    State(others): State<Arc<FederationClient>>,
    Path(alias): Path<RoomAlias>,
) -> Result<JsonBody<Resolved>, ApiError> {
    resolve(&rooms, &others, &alias).await.map(JsonBody)
}
