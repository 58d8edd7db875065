//! GET /_matrix/client/v3/directory/room/{roomAlias}

use std::sync::Arc;

use plexus_http::{ApiError, JsonBody, Path, State};
use plexus_protocol::id::RoomAlias;

use plexus_http::room_errors::resolve_error;
use plexus_service::{ResolvedRoom, RoomResolver};

pub(crate) async fn handle(
    State(resolver): State<Arc<RoomResolver>>,
    Path(alias): Path<RoomAlias>,
) -> Result<JsonBody<ResolvedRoom>, ApiError> {
    resolver.resolve_alias(&alias).await.map(JsonBody).map_err(resolve_error)
}
