//! GET /_matrix/client/v1/room_summary/{roomIdOrAlias}

use std::sync::Arc;

use plexus_http::room_errors::resolve_error;
use plexus_http::{ApiError, JsonBody, MaybeAuth, Path, Query, State};
use plexus_protocol::id::ServerName;
use plexus_rooms::Rooms;
use plexus_rooms::summary::{SummaryDetails, is_accessible};
use plexus_service::{RemoteRoomSummaries, RemoteSummary, RequestBudget, RoomResolver};
use serde::{Deserialize, Serialize};

use crate::access::local_room;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// Servers that may be in the room.
    #[serde(default)]
    via: Vec<ServerName>,
}

#[derive(Serialize)]
pub(crate) struct Response {
    #[serde(flatten)]
    room: Summary,
    /// The requester's membership, if there is a requester.
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Summary {
    Local(Box<SummaryDetails>),
    Remote(Box<RemoteSummary>),
}

/// Returns the summary. Other servers are asked only for a user who is logged in.
pub(crate) async fn handle(
    MaybeAuth(requester): MaybeAuth,
    State(rooms): State<Arc<Rooms>>,
    State(resolver): State<Arc<RoomResolver>>,
    State(remote): State<Arc<RemoteRoomSummaries>>,
    Path(id_or_alias): Path<String>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let unknown = || ApiError::not_found("Room not found or not accessible");
    let user = requester.as_ref().map(|requester| &requester.user_id);
    let local = match local_room(&rooms, &resolver, &id_or_alias).await {
        Ok(room) => Some(room),
        Err(error) if user.is_none() || error.status() != http::StatusCode::NOT_FOUND => return Err(error),
        Err(_) => None,
    };
    let membership = user.map(|user| {
        let membership = local.as_ref().and_then(|room| room.view().state.membership(user.as_str()));
        membership.map_or("leave", |membership| membership.as_str())
    });
    let resident = local.as_ref().filter(|room| !room.view().local_joined.is_empty());
    if let (None, Some(user)) = (resident, user) {
        let resolved = resolver.resolve(&id_or_alias, request.via).await.map_err(resolve_error)?;
        let mut servers = resolved.servers;
        servers.extend(resolved.room_id.server_name().and_then(|name| ServerName::try_from(name).ok()));
        let found = remote.find(user, &resolved.room_id, &servers, &mut RequestBudget::default()).await?;
        if let Some(found) = found {
            let room = Summary::Remote(Box::new(found.summary.clone()));
            return Ok(JsonBody(Response { room, membership }));
        }
    }
    let room = local.ok_or_else(unknown)?;
    if !is_accessible(&rooms, &room, user).await? {
        return Err(unknown());
    }
    Ok(JsonBody(Response { room: Summary::Local(Box::new(SummaryDetails::of(&room))), membership }))
}
