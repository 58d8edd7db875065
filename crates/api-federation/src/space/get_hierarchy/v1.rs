//! GET /_matrix/federation/v1/hierarchy/{roomId}

use std::sync::Arc;

use plexus_federation::serve;
use plexus_http::{ApiError, Origin, Path, Query, RawJson, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use plexus_rooms::summary::{space_children, with_children};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    suggested_only: bool,
}

/// Returns a space and its children, one level deep.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let found = serve::hierarchy(&rooms, &origin, &room_id, request.suggested_only).await;
    let found = found.map_err(crate::responses::refused)?;
    let broken = |error: serde_json::Error| ApiError::internal(&error);
    let room = with_children(&found.room, &found.children).map_err(broken)?;
    let mut children = Vec::with_capacity(found.accessible.len());
    for child in &found.accessible {
        children.push(with_children(child, &space_children(child).await?).map_err(broken)?);
    }
    let (children, inaccessible) = (children.join(","), json!(found.inaccessible));
    Ok(RawJson(
        format!("{{\"children\":[{children}],\"inaccessible_children\":{inaccessible},\"room\":{room}}}").into(),
    ))
}
