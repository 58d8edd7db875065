//! GET /_matrix/federation/v1/make_leave/{roomId}/{userId}

use std::sync::Arc;

use plexus_federation::PduReceiver;
use plexus_federation::serve;
use plexus_http::{ApiError, Origin, Path, RawJson, State};
use plexus_protocol::id::{RoomId, UserId};

use super::template;
use crate::responses::refused;

/// Returns a template of the event by which a user of the requesting server can leave.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(receiver): State<Arc<PduReceiver>>,
    Path((room_id, user_id)): Path<(RoomId, UserId)>,
) -> Result<RawJson, ApiError> {
    let made = serve::make_leave(&receiver, &origin, &room_id, &user_id).await.map_err(refused)?;
    Ok(template(&made))
}
