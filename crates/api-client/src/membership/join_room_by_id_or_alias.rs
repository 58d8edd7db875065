//! POST /_matrix/client/v3/join/{roomIdOrAlias}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, JsonOrEmpty, Path, State};
use plexus_rooms::{MembershipChanger, Rooms};

use super::OwnRequest;
use super::join_room_by_id::{self, Response};
use crate::event_json::room_by_id_or_alias;
use crate::rate_limits::RateLimits;

pub async fn handle(
    auth: AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    members: State<Arc<MembershipChanger>>,
    limits: State<Arc<RateLimits>>,
    Path(id_or_alias): Path<String>,
    body: JsonOrEmpty<OwnRequest>,
) -> Result<JsonBody<Response>, ApiError> {
    let room = room_by_id_or_alias(&rooms, &id_or_alias).await?;
    let id = Path(room.id.clone());
    join_room_by_id::handle(auth, State(rooms), members, limits, id, body).await
}
