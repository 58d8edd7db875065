//! PUT /_matrix/federation/v1/send_leave/{roomId}/{eventId}

use std::sync::Arc;

use plexus_federation::PduReceiver;
use plexus_http::{ApiError, Json, Origin, Path, RawJson, State};
use plexus_protocol::id::{EventId, RoomId};
use serde_json::value::RawValue;

use super::v2;

/// As version 2, with the status in the body.
pub(crate) async fn handle(
    origin: Origin,
    receiver: State<Arc<PduReceiver>>,
    path: Path<(RoomId, EventId)>,
    event: Json<Box<RawValue>>,
) -> Result<RawJson, ApiError> {
    v2::handle(origin, receiver, path, event).await?;
    Ok(RawJson("[200,{}]".into()))
}
