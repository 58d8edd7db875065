//! GET /_matrix/federation/v1/event/{eventId}

use std::sync::Arc;

use plexus_base::Clock;
use plexus_federation::serve;
use plexus_http::{ApiError, Origin, Path, RawJson, State};
use plexus_protocol::id::{EventId, ServerName};
use plexus_rooms::Rooms;

use crate::responses::{refused, transaction};

/// Returns one event.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(rooms): State<Arc<Rooms>>,
    State(server_name): State<ServerName>,
    State(clock): State<Clock>,
    Path(event_id): Path<EventId>,
) -> Result<RawJson, ApiError> {
    let pdu = serve::event(&rooms, &origin, &event_id).await.map_err(refused)?;
    Ok(transaction(&server_name, clock.now_ms(), &[pdu]))
}
