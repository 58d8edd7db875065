//! POST /_matrix/client/v3/join/{roomIdOrAlias}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, JsonOrEmpty, Path, Query, State};
use plexus_rooms::{MembershipChanger, Rooms};

use super::join_room_by_id::{self, Response};
use super::{OwnRequest, Via};
use crate::event_json::room_id;
use crate::rate_limits::RateLimits;

pub async fn handle(
    auth: AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    members: State<Arc<MembershipChanger>>,
    limits: State<Arc<RateLimits>>,
    Path(id_or_alias): Path<String>,
    via: Query<Via>,
    body: JsonOrEmpty<OwnRequest>,
) -> Result<JsonBody<Response>, ApiError> {
    let id = room_id(&rooms, &id_or_alias).await?;
    join_room_by_id::handle(auth, State(rooms), members, limits, Path(id), via, body).await
}
