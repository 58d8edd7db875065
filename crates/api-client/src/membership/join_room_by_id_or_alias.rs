//! POST /_matrix/client/v3/join/{roomIdOrAlias}

use std::sync::Arc;

use plexus_http::room_errors::resolve_error;
use plexus_http::{ApiError, AuthGuest, JsonBody, JsonOrEmpty, Path, Query, State};
use plexus_rooms::MembershipChanger;
use plexus_service::RoomResolver;

use super::join_room_by_id::{self, Response};
use super::{OwnRequest, Via};

pub(crate) async fn handle(
    auth: AuthGuest,
    State(resolver): State<Arc<RoomResolver>>,
    members: State<Arc<MembershipChanger>>,
    Path(id_or_alias): Path<String>,
    Query(via): Query<Via>,
    body: JsonOrEmpty<OwnRequest>,
) -> Result<JsonBody<Response>, ApiError> {
    let resolved = resolver.resolve(&id_or_alias, via.servers()).await.map_err(resolve_error)?;
    let via = Query(Via::of(resolved.servers));
    join_room_by_id::handle(auth, members, Path(resolved.room_id), via, body).await
}
