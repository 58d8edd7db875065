//! GET /_matrix/client/v3/directory/room/{roomAlias}

use std::sync::Arc;

use plexus_http::{ApiError, JsonBody, Path, State};
use plexus_protocol::id::RoomAlias;

use super::{Resolved, RoomNames};

pub async fn handle(
    State(names): State<Arc<RoomNames>>,
    Path(alias): Path<RoomAlias>,
) -> Result<JsonBody<Resolved>, ApiError> {
    names.resolve(&alias).await.map(JsonBody)
}
