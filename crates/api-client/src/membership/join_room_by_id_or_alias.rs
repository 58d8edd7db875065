//! POST /_matrix/client/v3/join/{roomIdOrAlias}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, JsonOrEmpty, Path, Query, State};
use plexus_rooms::MembershipChanger;

use super::join_room_by_id::{self, Response};
use super::{OwnRequest, Via};
use crate::alias::RoomNames;

pub async fn handle(
    auth: AuthGuest,
    State(names): State<Arc<RoomNames>>,
    members: State<Arc<MembershipChanger>>,
    Path(id_or_alias): Path<String>,
    Query(via): Query<Via>,
    body: JsonOrEmpty<OwnRequest>,
) -> Result<JsonBody<Response>, ApiError> {
    let named = names.named(&id_or_alias, via.servers()).await?;
    let via = Query(Via::of(named.servers));
    join_room_by_id::handle(auth, members, Path(named.room_id), via, body).await
}
