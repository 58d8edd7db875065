//! GET /_matrix/client/v1/room_summary/{roomIdOrAlias}

use std::sync::Arc;

use plexus_http::{ApiError, JsonBody, MaybeAuth, Path, Query, State};
use plexus_protocol::id::ServerName;
use plexus_rooms::Rooms;
use plexus_rooms::summary::{SummaryDetails, is_accessible};
use serde::{Deserialize, Serialize};

use crate::alias::RoomNames;
use crate::event_json::room_by_id_or_alias;
use crate::space::elsewhere::{Questions, RoomsElsewhere, Summary};

#[derive(Debug, Deserialize)]
pub struct Request {
    /// Servers that may be in the room.
    #[serde(default)]
    via: Vec<ServerName>,
}

#[derive(Serialize)]
pub struct Response {
    #[serde(flatten)]
    room: Shown,
    /// The requester's, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shown {
    Here(Box<SummaryDetails>),
    Elsewhere(Box<Summary>),
}

/// Other servers are asked only in the name of a user.
pub async fn handle(
    MaybeAuth(requester): MaybeAuth,
    State(rooms): State<Arc<Rooms>>,
    State(names): State<Arc<RoomNames>>,
    State(elsewhere): State<Arc<RoomsElsewhere>>,
    Path(id_or_alias): Path<String>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let unknown = || ApiError::not_found("Room not found or not accessible");
    let user = requester.as_ref().map(|requester| &requester.user_id);
    let here = match room_by_id_or_alias(&rooms, &id_or_alias).await {
        Ok(room) => Some(room),
        Err(error) if user.is_none() || error.status() != http::StatusCode::NOT_FOUND => return Err(error),
        Err(_) => None,
    };
    let membership = user.map(|user| {
        let membership = here.as_ref().and_then(|room| room.view().state.membership(user.as_str()));
        membership.map_or("leave", |membership| membership.as_str())
    });
    let in_it = here.as_ref().filter(|room| !room.view().local_joined.is_empty());
    if let (None, Some(user)) = (in_it, user) {
        let named = names.named(&id_or_alias, request.via).await?;
        let mut servers = named.servers;
        servers.extend(named.room_id.server_name().and_then(|name| ServerName::try_from(name).ok()));
        let told = elsewhere.find(user, &named.room_id, &servers, &mut Questions::default()).await?;
        if let Some(told) = told {
            let room = Shown::Elsewhere(Box::new(told.summary.clone()));
            return Ok(JsonBody(Response { room, membership }));
        }
    }
    let room = here.ok_or_else(unknown)?;
    if !is_accessible(&rooms, &room, user).await? {
        return Err(unknown());
    }
    Ok(JsonBody(Response { room: Shown::Here(Box::new(SummaryDetails::of(&room))), membership }))
}
