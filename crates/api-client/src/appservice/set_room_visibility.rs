//! PUT /_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, Empty, Json, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use plexus_store::repo::rooms::Network;
use plexus_store::{Database, repo};
use serde::Deserialize;

/// The longest id of a network, in bytes: as of other ids.
const MAX_NETWORK_ID_BYTES: usize = 255;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    visibility: String,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(db): State<Database>,
    Path((network_id, room_id)): Path<(String, RoomId)>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    let Some(service) = &requester.acting_service else {
        return Err(ApiError::forbidden("Only application services can edit the lists of their networks"));
    };
    let published = match request.visibility.as_str() {
        "public" => true,
        "private" => false,
        _ => return Err(ApiError::bad_json("visibility must be public or private")),
    };
    if network_id.len() > MAX_NETWORK_ID_BYTES || network_id.contains('\0') {
        return Err(ApiError::invalid_param("Invalid network id"));
    }
    let room = rooms.get(&room_id).await?.ok_or_else(|| ApiError::not_found("Unknown room"))?;
    let (nid, network) = (room.nid, Network { service_id: service.id.clone(), network_id });
    db.write(move |tx| repo::rooms::set_published_in(tx, &network, nid, published)).await?;
    Ok(Empty)
}
