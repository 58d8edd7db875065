//! GET /_matrix/federation/v1/make_knock/{roomId}/{userId}

use std::sync::Arc;

use plexus_federation::PduReceiver;
use plexus_federation::serve;
use plexus_http::{ApiError, Origin, Path, Query, RawJson, State};
use plexus_protocol::id::{RoomId, UserId};

use crate::membership::{Versions, template};
use crate::responses::refused;

/// Returns a template of the event by which a user of the requesting server can knock.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(receiver): State<Arc<PduReceiver>>,
    Path((room_id, user_id)): Path<(RoomId, UserId)>,
    Query(supported): Query<Versions>,
) -> Result<RawJson, ApiError> {
    let made = serve::make_knock(&receiver, &origin, &room_id, &user_id, &supported.ver).await.map_err(refused)?;
    Ok(template(&made))
}
